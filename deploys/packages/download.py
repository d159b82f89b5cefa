"""Gets the bytes behind a package URL into a file: redirects, retries and resuming included."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from deploys.error_codes import ErrorCode
from deploys.packages import cutoff, errors
from deploys.packages.connection_errors import causes, explain
from deploys.packages.cutoff import Cutoff
from deploys.packages.errors import FetchStopped, PackageError
from deploys.packages.hosts import DEFAULT_PORTS, HostRule
from deploys.packages.pinned_http import PinnedClient
from deploys.packages.proxy import Proxy, ProxyRefusal
from deploys.packages.sources import NONE, Sources
from deploys.packages.speed import LOWEST_SPEED, LowestSpeed
from inventory.security.redaction import redact_url
from inventory.told import Facts, Told
from inventory.told import marked as _

PIECE_BYTES = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
# Passing troubles, though they look like the client's fault: Request Timeout, Too Early, Too Many Requests.
_PASSING = (408, 425, 429)
# Of making a connection: this host lets us have no more.
_OWN_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """deadline_seconds: for everything together. failures: attempts in a row that got no further than those before.

    slow_attempts: those that brought less than the lowest speed, however far they got.
    """

    deadline_seconds: float = 1800
    lowest: LowestSpeed = LOWEST_SPEED
    failures: int = 5
    attempts: int = 20
    slow_attempts: int = 2
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 8


PATIENCE = Patience()


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """is_length_known: the host said how long the body is, so that it can't have been cut unnoticed."""

    sha256: str
    size_bytes: int
    content_type: str
    is_length_known: bool


class _Interrupted(Exception):
    """An attempt failed in a way that may pass. told: a clause."""

    def __init__(self, told: Told) -> None:
        super().__init__(str(told))
        self.told = told


class _TooSlow(_Interrupted):
    """An attempt was ended for want of bytes."""


def download(
    url: str,
    file: BinaryIO,
    *,
    rules: Sequence[HostRule],
    max_bytes: int,
    sources: Sources = NONE,
    proxy: Proxy | None = None,
    patience: Patience = PATIENCE,
    should_stop: Callable[[], bool] = errors.never,
    on_note: Callable[[Told], None] = errors.ignore,
) -> Downloaded:
    """Write what `url` answers to `file` (empty, seekable). Never more than `max_bytes`, never whole in memory.

    Raises `PackageError`, `FetchStopped` within about a second of `should_stop()`, and OSError for trouble of this host's.
    """

    def work(cut: Cutoff) -> Downloaded:
        client = PinnedClient(rules, cut, sources=sources, proxy=proxy)
        return _Download(url, file, client, max_bytes, patience, cut, begins_at=sources.resolved(url)).run()

    try:
        return cutoff.run(
            work,
            should_stop=should_stop,
            on_note=on_note,
            deadline_seconds=patience.deadline_seconds,
            lowest=patience.lowest,
        )
    except cutoff.Stopped:
        raise FetchStopped from None
    except cutoff.DeadlinePassed:
        text = _("it was not there after %(seconds)s seconds")
        raise _unreachable(url, Told(text, {"seconds": f"{patience.deadline_seconds:g}"})) from None


class _Download:
    """One package on its way. What has arrived stays, and the next attempt goes on from there where the host can."""

    def __init__(
        self,
        url: str,
        file: BinaryIO,
        client: PinnedClient,
        max_bytes: int,
        patience: Patience,
        cut: Cutoff,
        *,
        begins_at: str,
    ) -> None:
        """url: as it was given, for messages. begins_at: what is asked for, the same but for s3."""
        self._url = url
        self._begins_at = begins_at
        self._file = file
        self._client = client
        self._max_bytes = max_bytes
        self._patience = patience
        self._cut = cut
        self._validator = ""
        self._start_again()

    def run(self) -> Downloaded:
        try:
            return self._run()
        finally:
            self._client.close()

    def _run(self) -> Downloaded:
        attempts = failures = slow = furthest = 0
        while attempts < self._patience.attempts:
            attempts += 1
            try:
                return self._attempt()
            except _Interrupted as interrupted:
                # A failed attempt is not counted against one that got further.
                failures = 1 if self._size > furthest else failures + 1
                furthest = max(furthest, self._size)
                slow += isinstance(interrupted, _TooSlow)
                why = interrupted.told
            self._cut.check()
            if failures >= self._patience.failures or slow >= self._patience.slow_attempts:
                break
            self._pause(failures, why)
        raise _unreachable(self._url, Told(_("%(why)s (%(count)s attempts)"), {"why": why, "count": attempts}))

    def _pause(self, failures: int, why: Told) -> None:
        patience = self._patience
        seconds = min(patience.first_pause_seconds * 2 ** (failures - 1), patience.longest_pause_seconds)
        facts: Facts = {"url": redact_url(self._url), "why": why, "seconds": f"{seconds:g}", "size": self._size}
        text = _("Download of %(url)s: %(why)s; trying again in %(seconds)s s")
        if self._size and self._validator:
            text = _("Download of %(url)s: %(why)s; trying again in %(seconds)s s, from byte %(size)s on")
        self._cut.notes.put(Told(text, facts))
        self._cut.sleep(seconds)

    def _attempt(self) -> Downloaded:
        try:
            with self._cut.measured():
                return self._exchange()
        except cutoff.TooSlow as too_slow:
            raise _TooSlow(Told(_("the host is too slow: %(said)s"), {"said": str(too_slow)})) from None

    def _exchange(self) -> Downloaded:
        try:
            response = self._open()
            try:
                return self._receive(response)
            finally:
                response.close()
        except HostError:
            raise
        except requests.exceptions.SSLError as error:
            raise _unreachable(self._url, explain(error)) from None
        except ValueError:
            # requests' own InvalidURL and its like are ValueErrors, too.
            raise _unreachable(self._url, Told(_("it, or what it redirects to, can't be read as a URL"))) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            self._cut.check()
            if any(isinstance(cause, ProxyRefusal) for cause in causes(error)):
                raise _unreachable(self._url, explain(error)) from None
            _raise_own(error)
            raise _Interrupted(explain(error)) from None

    def _open(self) -> requests.Response:
        """The answer to the URL or to where it redirects to, whatever its status is.

        Credentials are for the first host alone: once a redirect has led away from it, none are sent to anybody.
        """
        url = self._begins_at
        stays = True
        for _hop in range(_MOST_REDIRECTS + 1):
            stays = stays and _origin(url) == _origin(self._begins_at)
            response = self._get(url, with_credentials=stays)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or location is None:
                return response
            # Its body is not read, however long it is.
            response.close()
            url = _redirected(url, location)
        raise _unreachable(self._url, Told(_("it redirects more than %(count)s times"), {"count": _MOST_REDIRECTS}))

    def _get(self, url: str, *, with_credentials: bool) -> requests.Response:
        try:
            return self._client.get(url, self._headers(), with_credentials=with_credentials)
        except PackageError as refusal:
            if url == self._begins_at:
                raise
            elsewhere = Told(_("%(url)s redirects elsewhere."), {"url": redact_url(self._url)})
            raise PackageError(refusal.code, elsewhere, *refusal.told) from None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "release-execution", "Accept": "*/*"}
        if self._size and self._validator:
            headers |= {"Range": f"bytes={self._size}-", "If-Range": self._validator}
        return headers

    def _receive(self, response: requests.Response) -> Downloaded:
        self._check_status(response)
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            self._start_again()
            self._validator = _validator(response)
        length = _length(response)
        if length is not None:
            self._check_size(self._size + length)
        # Not `stream()`: urllib3's own reader of chunks takes a line of any length into memory.
        while piece := response.raw.read(PIECE_BYTES, decode_content=False):
            self._cut.check()
            self._check_size(self._size + len(piece))
            self._keep(piece)
        with _own_errors():
            self._file.flush()
        return Downloaded(
            sha256=self._sha256.hexdigest(),
            size_bytes=self._size,
            content_type=response.headers.get("Content-Type", ""),
            is_length_known=length is not None or response.headers.get("Transfer-Encoding", "").lower() == "chunked",
        )

    def _check_status(self, response: requests.Response) -> None:
        status = response.status_code
        if status == HTTPStatus.OK or (status == HTTPStatus.PARTIAL_CONTENT and self._is_the_rest(response)):
            return
        said = f"{status} {_phrase(status)}".strip()
        answer = Told(_("the host answered %(said)s"), {"said": said})
        if status in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE) and self._size:
            # What it has now is not what it had: from the start.
            self._start_again()
            raise _Interrupted(Told(_("the host answered %(said)s for the rest"), {"said": said}))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
            raise _Interrupted(answer)
        raise _unreachable(self._url, answer)

    def _is_the_rest(self, response: requests.Response) -> bool:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        has_changed = (
            self._validator.startswith('"') and response.headers.get("ETag", self._validator) != self._validator
        )
        return bool(self._size) and found is not None and int(found[1]) == self._size and not has_changed

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise PackageError(
                ErrorCode.PACKAGE_TOO_LARGE,
                Told(
                    _(
                        "The package at %(url)s is larger than %(bytes)s bytes. Make it smaller, or have an admin raise "
                        "RELEASE_PACKAGE_MAX_BYTES."
                    ),
                    {"url": redact_url(self._url), "bytes": self._max_bytes},
                ),
            )

    def _keep(self, piece: bytes) -> None:
        with _own_errors():
            self._file.write(piece)
        self._sha256.update(piece)
        self._size += len(piece)

    def _start_again(self) -> None:
        self._validator = ""
        self._size = 0
        self._sha256 = hashlib.sha256()
        with _own_errors():
            self._file.seek(0)
            self._file.truncate()


class HostError(OSError):
    """A call failed on this host, for want of its disk, files or memory: nothing that the package's host has done."""


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(error.errno, error.strerror) from error


def _raise_own(error: BaseException) -> None:
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _OWN_ERRORS:
            raise HostError(cause.errno, cause.strerror) from error


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    before, after = urlsplit(url), urlsplit(target)
    if before.scheme == "https" and after.scheme != "https":
        raise PackageError(
            ErrorCode.PACKAGE_HOST_NOT_ALLOWED,
            Told(
                _(
                    "%(url)s redirects to %(target)s, from https to %(scheme)s, which is never followed. Use a URL that stays "
                    "with https."
                ),
                {"url": redact_url(url), "target": redact_url(target), "scheme": after.scheme},
            ),
        )
    userinfo, at, host = before.netloc.rpartition("@")
    if at and after.netloc == host and after.scheme == before.scheme:
        # The same host: it may see its own credentials again, as with any client.
        return after._replace(netloc=f"{userinfo}@{host}").geturl()
    return target


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def _length(response: requests.Response) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() and len(value) < 20 else None


def _validator(response: requests.Response) -> str:
    """What `If-Range` may carry (RFC 9110, 13.1.5): a strong ETag, or a date a second or more older than the answer."""
    etag = response.headers.get("ETag", "")
    if etag:
        return etag if etag.startswith('"') else ""
    modified = response.headers.get("Last-Modified", "")
    try:
        age = parsedate_to_datetime(response.headers.get("Date", "")) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):
        return ""
    return modified if age.total_seconds() >= 1 else ""


def _unreachable(url: str, why: Told) -> PackageError:
    text = _(
        "The package at %(url)s could not be downloaded: %(why)s. Check that the URL answers from this worker's host, then "
        "retry."
    )
    return PackageError(ErrorCode.PACKAGE_UNREACHABLE, Told(text, {"url": redact_url(url), "why": why}))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
