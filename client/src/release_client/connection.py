"""One call over HTTP, sent again until an answer comes or patience runs out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError, ContentDecodingError, SSLError, Timeout
from urllib3 import Retry

from release_client.answers import ApiError
from release_client.errors import Misused, NotKnown, Refused

# The server, or a proxy before it, may answer otherwise in a while.
PASSING = frozenset({429, 502, 503, 504})
LOST = (ConnectionError, Timeout, ChunkedEncodingError, ContentDecodingError)
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0

# Says why a call is sent again, and in how many seconds.
OnPause = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """was_sent_again: an earlier attempt may have done what this one asked for."""

    status: int
    body: Any
    etag: str | None
    was_sent_again: bool


class Connection:
    """patience: seconds from the first attempt of a call to the last. A call may be sent twice: make it safe to repeat."""

    def __init__(self, url: str, token: str, *, patience: float, on_pause: OnPause) -> None:
        self.url = _checked_url(url)
        self.patience = patience
        self.on_pause = on_pause
        self._session = requests.Session()
        self._session.auth = _Bearer(_checked_token(token))

    def call(
        self,
        method: str,
        *path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """path: its segments after /v1. Raises Refused, NotKnown, Misused."""
        request = _Request(
            method=method,
            url="/".join([self.url, "v1", *map(_segment, path)]),
            options={"json": body, "params": query, "headers": {"X-Request-ID": uuid.uuid4().hex, **(headers or {})}},
        )
        attempts = _Attempts(request=request, patience=self.patience if patience is None else patience)
        while True:
            answer = self._attempt(attempts, answer_seconds)
            if answer is not None:
                return answer
            self.on_pause(attempts.fault, attempts.pause)
            time.sleep(attempts.pause)

    def _attempt(self, attempts: _Attempts, answer_seconds: float) -> Answer | None:
        """None: worth another try, for which there is time."""
        request = attempts.request
        timeout = (CONNECT_SECONDS, min(answer_seconds, max(attempts.seconds_left, 1.0)))
        try:
            response = self._session.request(
                request.method, request.url, timeout=timeout, allow_redirects=False, **request.options
            )
        except LOST as error:
            _check_certificate(error)
            attempts.lost(_plain_reason(error))
            return None
        except (requests.RequestException, UnicodeError) as error:
            raise Misused(f"{request.method} {request.url} can't be sent: {error}") from error
        if response.status_code in PASSING and attempts.may_pass(response):
            return None
        return _understood(response, attempts)


@dataclass(frozen=True, kw_only=True)
class _Request:
    method: str
    url: str
    options: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


class _Attempts:
    """The attempts of one call: how long the pause before the next is, and whether there is time for one.

    How the pauses grow, and what Retry-After says, is urllib3's `Retry`. Its own loop would not do: it is over before
    the body of an answer is read, and knows no deadline.
    """

    def __init__(self, *, request: _Request, patience: float) -> None:
        self.request = request
        self.fault = ""
        self.pause = 0.0
        self.may_be_done = False
        self._ends_at = time.monotonic() + patience
        self._patience = patience
        self._retry = Retry(total=None, backoff_factor=0.25, backoff_max=8, backoff_jitter=0.25)

    @property
    def seconds_left(self) -> float:
        return self._ends_at - time.monotonic()

    def lost(self, reason: str) -> None:
        """Raises NotKnown when there is no time left."""
        self.fault, self.may_be_done = reason, True
        if not self._has_time(0):
            raise NotKnown(f"No answer to {self.request} within {self._patience:g} s. The last fault: {reason}.")

    def may_pass(self, response: requests.Response) -> bool:
        self.fault = f"{response.status_code} {response.reason}"
        self.may_be_done |= response.status_code != 429
        return self._has_time(self._retry.get_retry_after(response.raw) or 0)

    def _has_time(self, wanted_pause: float) -> bool:
        self._retry = self._retry.increment(self.request.method, self.request.url, error=Exception(self.fault))
        self.pause = max(wanted_pause, self._retry.get_backoff_time())
        return self.pause < self.seconds_left


def _understood(response: requests.Response, attempts: _Attempts) -> Answer:
    where, status = str(attempts.request), response.status_code
    if 300 <= status < 400 and status != 304:
        elsewhere = response.headers.get("Location", "nowhere")
        raise Misused(f"{where} leads elsewhere: {elsewhere}. Make RELEASE_URL the address that it leads to.")
    if status >= 400:
        raise _refusal(response, attempts)
    return Answer(
        status=status,
        body=None if status in (204, 304) else _body(response, where),
        etag=response.headers.get("ETag"),
        was_sent_again=attempts.may_be_done,
    )


def _body(response: requests.Response, where: str) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError as error:
        kind = response.headers.get("Content-Type", "no content type")
        raise NotKnown(
            f"{where} was answered {response.status_code} without JSON ({kind}): "
            "is RELEASE_URL the address of a release system?"
        ) from error


def _refusal(response: requests.Response, attempts: _Attempts) -> Refused | NotKnown:
    status, errors = response.status_code, _errors(response)
    what = f"{attempts.request} was answered {status} {response.reason}"
    if not errors:
        what += ", not by a release system: is RELEASE_URL right, and what does a proxy before it say?"
    if status >= 500:
        return NotKnown(f"{what} (request {response.request.headers['X-Request-ID']})", errors=errors)
    if attempts.may_be_done and status in (401, 403, 429):
        return NotKnown(f"{what}, but an earlier attempt, whose answer was lost, may have been accepted", errors=errors)
    advised = what + _advice(status, response)
    return Refused(advised, status=status, errors=errors, was_sent_again=attempts.may_be_done)


def _advice(status: int, response: requests.Response) -> str:
    match status:
        case 401:
            return ": give a valid token, in RELEASE_TOKEN_FILE or --token-file"
        case 429:
            return f": send it again in {response.headers.get('Retry-After', 'some')} s"
    return ""


def _errors(response: requests.Response) -> list[ApiError]:
    """Empty when the answer isn't in the API's shape."""
    try:
        errors = response.json()["errors"]
        return [error for error in errors if {"code", "detail"} <= error.keys()]
    except (requests.JSONDecodeError, KeyError, TypeError, AttributeError):
        return []


class _Bearer(requests.auth.AuthBase):
    """Of its own, as requests would put a ~/.netrc's password in place of a header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Misused(f"RELEASE_URL must be like https://releases.example.com, not {url!r}.")
    return url.rstrip("/")


def _checked_token(token: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Misused(
            "The token is empty, or holds characters that no token has. `create_token` prints it alone on a line."
        )
    return token


def _segment(text: str) -> str:
    """One of a path. Dots alone would lead to another path."""
    if not text.strip("."):
        raise Misused(f"{text!r} is no name and no id.")
    return quote(text, safe="")


def _check_certificate(error: Exception) -> None:
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise NotKnown(
            f"The server's certificate can't be trusted: {_plain_reason(error)}. "
            "Name a file with its authority in REQUESTS_CA_BUNDLE."
        ) from error


def _plain_reason(error: BaseException) -> str:
    """The innermost cause: the outer ones name objects of Python."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    match error:
        case OSError(strerror=str(reason)):
            return reason
        case TimeoutError():
            return "it took too long"
    return str(error) or type(error).__name__
