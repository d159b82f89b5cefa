"""What may go wrong between a package's URL and the artifact made of it."""

from __future__ import annotations

from deploys.error_codes import ErrorCode


class PackageError(Exception):
    """The package is unavailable. message: what happened, where, what to do next.

    advice: the last of these, while the message is still without it.
    """

    def __init__(self, code: ErrorCode, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.code = ErrorCode(code)
        self.message = message
        self.advice = advice


class FetchStopped(Exception):
    """`should_stop()` said so. Nothing is left behind; this is nobody's failure."""


def never() -> bool:
    """The `should_stop` of a caller who waits to the end."""
    return False


def ignore(note: str) -> None:
    """The `on_note` of a caller who keeps no log."""
