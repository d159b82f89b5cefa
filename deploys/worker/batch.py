"""What one transaction of the group commit writes: events of many targets, which can be taken apart target by target."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from deploys.operations.transitions import Move
from deploys.states import Step
from deploys.worker.switch_permits import Permit, SwitchRequest


@dataclass(frozen=True, kw_only=True)
class Line:
    """Of the operation's log. target_id: whose work it tells of; None: the operation's own.

    told: the sentences of its text, as `deploys.told.stored` makes them; None for what a program printed.
    """

    operation_id: int
    target_id: int | None
    instance_id: int | None
    step: str
    stream: str
    text: str
    at: datetime
    told: list[dict[str, Any]] | None = None

    @property
    def owner(self) -> int:
        """A target, or (below zero) an operation: what is refused of it concerns nobody else."""
        return -self.operation_id if self.target_id is None else self.target_id


@dataclass(frozen=True, kw_only=True)
class StepChange:
    """seconds: how long each finished step took so far."""

    target_id: int
    fence: int
    step: Step
    seconds: dict[str, float]

    @property
    def owner(self) -> int:
        return self.target_id


@dataclass(frozen=True, kw_only=True, eq=False)
class MoveRequest:
    """last_step: committed together with the move; a step alone would say that the target has ended."""

    move: Move
    last_step: StepChange
    answer: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def owner(self) -> int:
        return self.move.target_id


@dataclass(frozen=True, kw_only=True, eq=False)
class PermitRequest:
    request: SwitchRequest
    answer: asyncio.Future[Permit] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def owner(self) -> int:
        return self.request.target_id


Event = Line | StepChange | MoveRequest | PermitRequest
E = TypeVar("E", Line, StepChange, MoveRequest, PermitRequest)


@dataclass(frozen=True)
class Batch:
    """events: each owner's in their order, its move last."""

    events: Sequence[Event]

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def is_progress_alone(self) -> bool:
        """Nothing but which step is in progress, which the next batch says again."""
        return all(isinstance(event, StepChange) for event in self.events)

    def without(self, owners: Collection[int], *kinds: type[Event]) -> Batch:
        """kinds: only these events of theirs are left out."""
        if not owners:
            return self
        return Batch([event for event in self.events if event.owner not in owners or not isinstance(event, kinds)])

    def halves(self) -> tuple[Batch, Batch]:
        """To be written one after the other: half of the owners each, or half of the only one's events."""
        owners = list(dict.fromkeys(event.owner for event in self.events))
        if len(owners) == 1:
            middle = len(self.events) // 2
            return Batch(self.events[:middle]), Batch(self.events[middle:])
        first = set(owners[: len(owners) // 2])
        return Batch(_part(self.events, first, True)), Batch(_part(self.events, first, False))


def _part(events: Iterable[Event], owners: Collection[int], is_within: bool) -> list[Event]:
    return [event for event in events if (event.owner in owners) == is_within]
