"""What can go wrong, by what the caller may conclude from it. Each says what happened, where, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from release_client.answers import ApiError

_NAMED = 20


class ReleaseClientError(Exception):
    """Every error of this package."""

    errors: Sequence[ApiError] = ()


class Misused(ReleaseClientError):
    """Nothing was asked: an option, a setting or a file is missing or wrong."""


class Refused(ReleaseClientError):
    """The system has said no, and nothing was started. status: of HTTP. errors: each thing that it found at fault.

    was_sent_again: it is the answer to a later attempt; an earlier one, whose answer was lost, may have been accepted.
    """

    def __init__(
        self, message: str, *, status: int, errors: Sequence[ApiError] = (), was_sent_again: bool = False
    ) -> None:
        self.status = status
        self.errors = errors
        self.was_sent_again = was_sent_again
        super().__init__(with_faults(message, errors))

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(error["code"] for error in self.errors)


class NotKnown(ReleaseClientError):
    """Time or connection ran out: whether it was done, or how it ends, is not known here. Asking again is safe."""

    def __init__(self, message: str, *, errors: Sequence[ApiError] = ()) -> None:
        self.errors = errors
        super().__init__(with_faults(message, errors))


def with_faults(message: str, errors: Sequence[ApiError]) -> str:
    lines = [f"  {_fault(error)}" for error in errors[:_NAMED]]
    if len(errors) > _NAMED:
        lines.append(f"  … and {len(errors) - _NAMED} more (--json shows all)")
    return "\n".join([message, *lines])


def _fault(error: ApiError) -> str:
    where = f"{error['attr']}: " if error.get("attr") else ""
    return f"{where}{error['detail']} [{error['code']}]"
