"""From a package's URL to an artifact in this host's store: download, verify, check, repack, keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import BinaryIO

from django.conf import settings

from deploys.error_codes import ErrorCode
from deploys.packages import download, errors, repack_process, signatures, sources
from deploys.packages.archive.refusals import Limits
from deploys.packages.archive.zip_names import UTF8
from deploys.packages.download import Downloaded
from deploys.packages.errors import PackageError
from deploys.packages.figures import rounded, speed
from deploys.packages.hosts import HostRule
from deploys.packages.store import Artifact, PackageStore
from inventory.security.redaction import redact_url, scrub
from inventory.signing_keys import raw_signature, verify_signature
from inventory.told import Facts, Told
from inventory.told import marked as _

# A package whose length the host did not say may be cut short unnoticed; then it is fetched again.
_MOST_DOWNLOADS = 3
_EXTRACTED_TIMES = 10
PATIENCE = download.PATIENCE
_NEXT_STEP = {
    ErrorCode.PACKAGE_INVALID: _(
        "Build it again without that, as tar.gz, tar.xz, tar.bz2, tar or zip, and deploy that."
    ),
    ErrorCode.PACKAGE_TOO_LARGE: _("Make it smaller, or have an admin raise RELEASE_PACKAGE_MAX_BYTES."),
    ErrorCode.PACKAGE_UNSAFE: _(
        "Build it of regular files, folders and relative links that stay inside, and deploy that."
    ),
}


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the caller asked for, and how it wants to be kept informed."""

    url: str
    expected_sha256: str
    signing_key: str
    signature: str
    zip_names: str
    should_stop: Callable[[], bool]
    on_note: Callable[[Told], None]
    on_signed: Callable[[str], None]
    on_downloaded: Callable[[int, float], None]
    turn_to_read: Callable[[], AbstractContextManager[None]]

    @property
    def shown_url(self) -> str:
        return redact_url(self.url)


def needs_no_host(*, expected_sha256: str, signing_key: str, signature: str, zip_names: str = UTF8) -> bool:
    """Whether `fetch` would find all in the store, so that it is quick."""
    is_signature_here = bool(signature) or not signing_key
    return is_signature_here and _stored(expected_sha256, zip_names, PackageStore.of_this_host()) is not None


def fetch(
    url: str,
    *,
    expected_sha256: str = "",
    signing_key: str = "",
    signature: str = "",
    zip_names: str = UTF8,
    should_stop: Callable[[], bool] = errors.never,
    on_note: Callable[[Told], None] = errors.ignore,
    on_signed: Callable[[str], None] = errors.ignore,
    on_downloaded: Callable[[int, float], None] = errors.ignore_size,
    turn_to_read: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Artifact:
    """Download the package once, check all of it, and return its artifact, which is then in the store.

    expected_sha256: hex; refused when it is another. signing_key: the Ed25519 key that must have signed it
    (`deploys.packages.signatures`); signature: that signature, or "" for the one at the URL with `.sig` behind its path.
    zip_names: the encoding of a zip's names that are not UTF-8 (`archive.zip_names`).
    on_signed: told of the signature (hex) that has proven genuine. on_downloaded: of the package's bytes and the seconds.
    turn_to_read: held as long as the archive is being read.
    Blocks; all callbacks are called in this thread, the first two about ten times a second. Raises `PackageError`, or
    `FetchStopped` within about a second of `should_stop()`; either way nothing is left behind. No database.
    """
    wanted = _Wanted(
        url=url,
        expected_sha256=expected_sha256.lower(),
        signing_key=signing_key,
        signature=signature,
        zip_names=zip_names,
        should_stop=should_stop,
        on_note=on_note,
        on_signed=on_signed,
        on_downloaded=on_downloaded,
        turn_to_read=turn_to_read,
    )
    store = PackageStore.of_this_host()
    with store.room():
        signed_by = _signature(wanted) if signing_key else b""
        known = _stored(wanted.expected_sha256, wanted.zip_names, store)
        if known is not None:
            _check_signature(wanted, known.sha256, signed_by)
            on_note(Told(_("The package at %(url)s is in the store already."), {"url": wanted.shown_url}))
            return known
        return _fetch(wanted, signed_by, store)


def _fetch(wanted: _Wanted, signature: bytes, store: PackageStore) -> Artifact:
    for attempt in range(1, _MOST_DOWNLOADS + 1):
        with store.temporary() as package:
            downloaded = _download(wanted, package)
            try:
                return _verified_artifact(wanted, signature, package, downloaded, store)
            except PackageError as error:
                may_be_cut = error.code in (ErrorCode.PACKAGE_CHECKSUM_MISMATCH, ErrorCode.PACKAGE_INVALID)
                if downloaded.is_length_known or not may_be_cut or attempt == _MOST_DOWNLOADS:
                    raise
                text = _("The package at %(url)s may have been cut short: downloading it again.")
                wanted.on_note(Told(text, {"url": wanted.shown_url}))
    raise AssertionError("unreachable")


def _download(wanted: _Wanted, package: BinaryIO) -> Downloaded:
    wanted.on_note(Told(_("Downloading %(url)s"), {"url": wanted.shown_url}))
    began = time.monotonic()
    downloaded = download.download(
        wanted.url,
        package,
        rules=_rules(),
        sources=sources.current(settings.SOURCES_FILE),
        proxy=settings.PACKAGE_PROXY,
        max_bytes=settings.PACKAGE_MAX_BYTES,
        patience=PATIENCE,
        should_stop=wanted.should_stop,
        on_note=wanted.on_note,
    )
    seconds = time.monotonic() - began
    facts: Facts = {"count": downloaded.size_bytes, "seconds": rounded(seconds), "sha256": downloaded.sha256}
    facts["speed"] = speed(downloaded.size_bytes, seconds)
    text = _("Downloaded %(count)s bytes in %(seconds)s s, %(speed)s. Their sha256 is %(sha256)s.")
    wanted.on_note(Told(text, facts))
    wanted.on_downloaded(downloaded.size_bytes, seconds)
    return downloaded


def _verified_artifact(
    wanted: _Wanted, signature: bytes, package: BinaryIO, downloaded: Downloaded, store: PackageStore
) -> Artifact:
    if wanted.expected_sha256 not in ("", downloaded.sha256):
        raise PackageError(
            ErrorCode.PACKAGE_CHECKSUM_MISMATCH,
            Told(
                _(
                    "The package at %(url)s has sha256 %(sha256)s, not %(expected)s as asked for. Compare it with the build's, "
                    "and deploy again with the right one."
                ),
                {"url": wanted.shown_url, "sha256": downloaded.sha256, "expected": wanted.expected_sha256},
            ),
        )
    _check_signature(wanted, downloaded.sha256, signature)
    return _stored(downloaded.sha256, wanted.zip_names, store) or _repacked(wanted, package, downloaded, store)


def _stored(sha256: str, zip_names: str, store: PackageStore) -> Artifact | None:
    """Not what was made by another service's word on the names: this one's may refuse them."""
    known = store.stored(sha256.lower())
    return known if known is not None and known.suits(zip_names) else None


def _repacked(wanted: _Wanted, package: BinaryIO, downloaded: Downloaded, store: PackageStore) -> Artifact:
    with wanted.turn_to_read(), store.draft() as (file, draft), store.draft() as (manifest_file, manifest):
        try:
            repacked = repack_process.repack(
                package,
                file,
                folder=store.temporary_folder,
                limits=_limits(downloaded.size_bytes),
                zip_names=wanted.zip_names,
                manifest=manifest_file,
                should_stop=wanted.should_stop,
                on_note=wanted.on_note,
            )
        except PackageError as error:
            raise _explained(error, wanted, downloaded) from error
        return store.publish(
            draft,
            sha256=downloaded.sha256,
            size_bytes=downloaded.size_bytes,
            repacked=repacked,
            manifest=manifest,
        )


def _explained(error: PackageError, wanted: _Wanted, downloaded: Downloaded) -> PackageError:
    """The archive's own problem, or this host's, with the package it is about and what to do."""
    if error.code == ErrorCode.INTERNAL_ERROR:
        return PackageError(
            error.code, _of_package(_("The package at %(url)s could not be read here: %(why)s."), error, wanted)
        )
    told = [_of_package(_("The package at %(url)s is refused: %(why)s."), error, wanted)]
    if error.code == ErrorCode.PACKAGE_INVALID and downloaded.content_type:
        told.append(Told(_("The host says it is %(kind)s."), {"kind": repr(scrub(downloaded.content_type[:80]))}))
    advice = error.advice or ([Told(_NEXT_STEP[error.code])] if error.code in _NEXT_STEP else [])
    return PackageError(error.code, *told, *advice)


def _of_package(text: str, error: PackageError, wanted: _Wanted) -> Told:
    """error.told: a clause."""
    return Told(text, {"url": wanted.shown_url, "why": error.told[0]})


def _signature(wanted: _Wanted) -> bytes:
    """The signature from the request, or the one beside the package."""
    if wanted.signature:
        return wanted.signature.encode()
    try:
        return _signature_beside(wanted)
    except PackageError as error:
        code = ErrorCode.PACKAGE_SIGNATURE_INVALID if error.code == ErrorCode.PACKAGE_TOO_LARGE else error.code
        why = Told(_("The service takes signed packages only, and the signature is unavailable."))
        raise PackageError(code, why, *error.told) from error


def _signature_beside(wanted: _Wanted) -> bytes:
    with PackageStore.of_this_host().temporary() as file:
        download.download(
            signatures.signature_url(wanted.url),
            file,
            rules=_rules(),
            sources=sources.current(settings.SOURCES_FILE),
            proxy=settings.PACKAGE_PROXY,
            max_bytes=signatures.SIGNATURE_FILE_BYTES,
            patience=PATIENCE,
            should_stop=wanted.should_stop,
            on_note=wanted.on_note,
        )
        file.seek(0)
        return file.read()


def _check_signature(wanted: _Wanted, sha256: str, signature: bytes) -> None:
    if not wanted.signing_key:
        return
    try:
        is_genuine = verify_signature(sha256, public_key=wanted.signing_key, signature=signature)
    except ValueError as error:
        raise PackageError(
            ErrorCode.INTERNAL_ERROR,
            Told(_("The service's signing key can't be read: %(said)s. Fix it in the admin."), {"said": str(error)}),
        ) from None
    if not is_genuine:
        raise PackageError(
            ErrorCode.PACKAGE_SIGNATURE_INVALID,
            Told(
                _(
                    "The package at %(url)s (sha256 %(sha256)s) is not signed by the service's signing key. Sign this very "
                    "package with that key, and deploy again."
                ),
                {"url": wanted.shown_url, "sha256": sha256},
            ),
        )
    wanted.on_signed((raw_signature(signature) or b"").hex())


def _rules() -> tuple[HostRule, ...]:
    return tuple(HostRule.parse(entry) for entry in settings.PACKAGE_HOSTS)


def _limits(package_bytes: int) -> Limits:
    """A large package may take longer to read: a second for each MiB, and two minutes anyway."""
    cpu_seconds = 120 + package_bytes // 1024**2
    return Limits(
        extracted_bytes=settings.PACKAGE_MAX_BYTES * _EXTRACTED_TIMES,
        cpu_seconds=cpu_seconds,
        wall_seconds=2 * cpu_seconds,
    )
