"""What may go wrong between a package's URL and the artifact made of it."""

from __future__ import annotations

HOST_NOT_ALLOWED = "package_host_not_allowed"
UNREACHABLE = "package_unreachable"
CHECKSUM_MISMATCH = "package_checksum_mismatch"
SIGNATURE_INVALID = "package_signature_invalid"
TOO_LARGE = "package_too_large"
INVALID = "package_invalid"
UNSAFE = "package_unsafe"
INTERNAL = "internal_error"


class PackageError(Exception):
    """The package can't be had. code: a target's error code; message: what happened, where, what to do next."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FetchStopped(Exception):
    """`should_stop()` said so. Nothing is left behind; this is nobody's failure."""


def never() -> bool:
    """The `should_stop` of a caller who waits to the end."""
    return False


def ignore(note: str) -> None:
    """The `on_note` of a caller who keeps no log."""
