"""Why an archive is refused, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass

from deploys.error_codes import ErrorCode

INVALID = ErrorCode.PACKAGE_INVALID
TOO_LARGE = ErrorCode.PACKAGE_TOO_LARGE
UNSAFE = ErrorCode.PACKAGE_UNSAFE


class Refused(Exception):
    """The whole archive is refused. message: which member, what is wrong with it."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def truncated() -> Refused:
    return Refused(INVALID, "the archive ends before its end: it was cut short")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may cost. Bytes but where the name says otherwise.

    extracted_bytes: of all members together. free_bytes: how much may come out before `ratio` counts: from then on an
    archive that yields more than `ratio` times its own bytes is a bomb. name_bytes: all names and targets together.
    """

    extracted_bytes: int
    ratio: int = 200
    free_bytes: int = 256 * 1024**2
    entries: int = 200_000
    path_bytes: int = 1024
    component_bytes: int = 255
    name_bytes: int = 32 * 1024**2
    header_bytes: int = 1024**2
    memory_bytes: int = 512 * 1024**2
    cpu_seconds: int = 600
    wall_seconds: int = 1200


def shown(name: str | bytes) -> str:
    """A member's name for a message: quoted, escaped, short."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "backslashreplace")
    return repr(name if len(name) <= 120 else f"{name[:100]}…{name[-15:]}")
