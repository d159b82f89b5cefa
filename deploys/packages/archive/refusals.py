"""Why an archive is refused, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass

from deploys.error_codes import ErrorCode
from inventory.told import Told
from inventory.told import marked as gettext_noop

INVALID = ErrorCode.PACKAGE_INVALID
TOO_LARGE = ErrorCode.PACKAGE_TOO_LARGE
UNSAFE = ErrorCode.PACKAGE_UNSAFE


class Refused(Exception):
    """The whole archive is refused. told: which member, what is wrong with it, a clause. advice: what to do about that very
    thing, a sentence; None where the advice of the code says it all.

    UNSAFE is for what would leave the release or hide something; whatever else can't be taken is INVALID.
    """

    def __init__(self, code: ErrorCode, told: Told, advice: Told | None = None) -> None:
        super().__init__(str(told))
        self.code = code
        self.told = told
        self.advice = advice

    @property
    def message(self) -> str:
        """In English."""
        return str(self)


def truncated() -> Refused:
    return Refused(
        INVALID,
        Told(gettext_noop("the archive ends before its end: it was cut short")),
        Told(
            gettext_noop(
                "Pack it again to the end, see that the upload to the package host was complete, and deploy that."
            )
        ),
    )


def too_many_entries(limits: Limits) -> Refused:
    return Refused(
        TOO_LARGE,
        Told(
            gettext_noop("the archive has more than %(entries)s entries, which is the most"),
            {"entries": limits.entries},
        ),
        Told(
            gettext_noop(
                "Pack many small files into one (a jar, an asar, a zip that the service reads), or leave out what "
                "it does not need."
            )
        ),
    )


def names_too_long(limits: Limits) -> Refused:
    return Refused(
        TOO_LARGE,
        Told(
            gettext_noop("the archive's names take more than %(name_bytes)s bytes together, which is the most"),
            {"name_bytes": limits.name_bytes},
        ),
        Told(gettext_noop("Pack many small files into one, or shorten their paths.")),
    )


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
    """A member's name for a message: quoted, escaped, short. Bytes that are no UTF-8 are all escaped."""
    if isinstance(name, bytes):
        try:
            return shown(name.decode())
        except UnicodeDecodeError:
            return repr(name if len(name) <= 60 else name[:50] + b"..." + name[-7:])[1:]
    return repr(name if len(name) <= 120 else f"{name[:100]}…{name[-15:]}")
