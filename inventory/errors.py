"""Errors that a caller of the system is meant to read. Every domain error is a `ReleaseError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a request.

    code: stable, machine-readable word. detail: what happened, where, what to do next, in the caller's language.
    attr: the request's key at fault, or None. facts: what a program needs of it under keys of their own, which stand beside
    these three in the answer (`inventory.wire.refusals` lists them).
    """

    code: str
    detail: str
    attr: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_answer(self) -> dict[str, Any]:
        return {"code": self.code, "detail": self.detail, "attr": self.attr, **self.facts}


def with_others(problems: Sequence[Problem], others: Sequence[Problem]) -> list[Problem]:
    """Both, but of a key that is at fault already only what names an instance."""
    named = {problem.attr for problem in problems}
    return [*problems, *(other for other in others if other.attr not in named or other.facts)]


class ReleaseError(Exception):
    """A refusal with an HTTP status and one problem or more; nothing has changed when it is raised."""

    http_status = 400
    default_code = "invalid"

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        attr: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems) or (
            Problem(code=code or self.default_code, detail=detail, attr=attr),
        )
        super().__init__("; ".join(problem.detail for problem in self.problems))

    @property
    def code(self) -> str:
        return self.problems[0].code


class InvalidRequest(ReleaseError):
    """400: the request can't be carried out as it stands."""


class Forbidden(ReleaseError):
    """403: the caller may do such things, but not this one in this way."""

    http_status = 403
    default_code = "forbidden"


class NotFound(ReleaseError):
    """404: what the request names does not exist, or the caller may not see it."""

    http_status = 404
    default_code = "not_found"


class Conflict(ReleaseError):
    """409: the request is sound, but the world is in its way."""

    http_status = 409
    default_code = "conflict"


class PreconditionFailed(ReleaseError):
    """412: what the caller has read has changed since."""

    http_status = 412
    default_code = "precondition_failed"
