"""What may go wrong between a package's URL and the artifact made of it."""

from __future__ import annotations

from deploys.error_codes import ErrorCode
from deploys.told import Telling, Told, english


class PackageError(Exception):
    """The package is unavailable. told: what happened, where, what to do next.

    advice: the last of these, while `told` is still without it.
    """

    def __init__(self, code: ErrorCode, *told: Told, advice: Telling = ()) -> None:
        super().__init__(english(told))
        self.code = ErrorCode(code)
        self.told = told
        self.advice = advice

    @property
    def message(self) -> str:
        """In English."""
        return str(self)


class FetchStopped(Exception):
    """`should_stop()` said so. Nothing is left behind; this is nobody's failure."""


def never() -> bool:
    """The `should_stop` of a caller who waits to the end."""
    return False


def ignore_size(size_bytes: int, seconds: float) -> None:
    """The `on_downloaded` of a caller who does not care."""


def ignore(note: Told | str) -> None:
    """The `on_note` of a caller who keeps no log."""
