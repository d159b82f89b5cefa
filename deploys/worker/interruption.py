"""How far a target's work is, what has been asked of it meanwhile, and what that comes to.

The rules are the two tables and `ending`, which are pure. `Interruption` carries them out: it owns the task that
works and the timers, and is the only one that cancels.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from deploys.states import StopReason

T = TypeVar("T")


class Phase(Enum):
    """waiting: the task has not begun. recovering: reading off the node what a dead worker's switch came to."""

    WAITING = auto()
    PREPARING = auto()
    SWITCHING = auto()
    RECOVERING = auto()


class Request(Enum):
    """What may be asked of a target's work at any time."""

    REQUEUE = "requeue"
    SUPERSEDE = StopReason.SUPERSEDE.value
    CANCEL = StopReason.CANCEL.value

    @classmethod
    def of(cls, reason: StopReason) -> set[Request]:
        return set() if reason == StopReason.NONE else {cls(reason.value)}


class Reaction(Enum):
    """finish: go on to the phase's end. abort: grant a grace, then end the node's command; end without it at the bound."""

    LOOK_LATER = auto()
    STOP_NOW = auto()
    FINISH = auto()
    ABORT = auto()


class Ending(Enum):
    """requeued: as if untouched. claim lost: written down no further here; the next worker asks the node again."""

    REQUEUED = auto()
    CLAIM_LOST = auto()
    UNRESOLVED = auto()
    SUPERSEDED = auto()
    CANCELLED = auto()


REACTIONS: dict[Phase, dict[Request, Reaction]] = {
    Phase.WAITING: {
        Request.REQUEUE: Reaction.LOOK_LATER,
        Request.SUPERSEDE: Reaction.LOOK_LATER,
        Request.CANCEL: Reaction.LOOK_LATER,
    },
    Phase.PREPARING: {
        Request.REQUEUE: Reaction.STOP_NOW,
        Request.SUPERSEDE: Reaction.STOP_NOW,
        Request.CANCEL: Reaction.STOP_NOW,
    },
    Phase.SWITCHING: {
        Request.REQUEUE: Reaction.FINISH,
        Request.SUPERSEDE: Reaction.FINISH,
        Request.CANCEL: Reaction.ABORT,
    },
    Phase.RECOVERING: {
        Request.REQUEUE: Reaction.STOP_NOW,
        Request.SUPERSEDE: Reaction.FINISH,
        Request.CANCEL: Reaction.ABORT,
    },
}

# Back from SWITCHING only when the node says that the release is not intact, or when nothing could be sent.
NEXT_PHASES: dict[Phase, tuple[Phase, ...]] = {
    Phase.WAITING: (Phase.PREPARING, Phase.RECOVERING),
    Phase.PREPARING: (Phase.SWITCHING,),
    Phase.SWITCHING: (Phase.PREPARING,),
    Phase.RECOVERING: (Phase.PREPARING,),
}

MAY_HAVE_SWITCHED = (Phase.SWITCHING, Phase.RECOVERING)


def ending(phase: Phase, asked: Collection[Request]) -> Ending:
    """How work ends that is stopped in this phase. Stopped though nothing was asked, it is for another worker."""
    if phase == Phase.RECOVERING and Request.REQUEUE in asked:
        return Ending.CLAIM_LOST  # and not requeued: whoever is next has to know that a switch may be in progress
    if phase in MAY_HAVE_SWITCHED:
        return Ending.UNRESOLVED
    if Request.CANCEL in asked:
        return Ending.CANCELLED
    return Ending.SUPERSEDED if Request.SUPERSEDE in asked else Ending.REQUEUED


class Stopped(Exception):
    """The work stands at a safe point, and ends there."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """A cancel ends every target within 60 s: its command gets a grace, then it is ended, and its way back too.

    Of a dead worker's restart most of that time went by until its lease had run out. abort_seconds: for the node to
    answer that it has ended a command.
    """

    grace_seconds: float = 15
    bound_seconds: float = 50
    recovering_grace_seconds: float = 5
    recovering_bound_seconds: float = 40
    abort_seconds: float = 10

    def of(self, phase: Phase) -> tuple[float, float]:
        """(grace, bound), both from the request on."""
        if phase == Phase.RECOVERING:
            return self.recovering_grace_seconds, self.recovering_bound_seconds
        return self.grace_seconds, self.bound_seconds


DEADLINES = Deadlines()


class Interruption:
    """phase: how far the work is. asked: what was asked of it so far. was_aborted: its command was ended on the node."""

    def __init__(
        self, asked: Collection[Request], *, deadlines: Deadlines, end_command: Callable[[], Awaitable[None]]
    ) -> None:
        self.phase = Phase.WAITING
        self.asked = set(asked)
        self.was_aborted = False
        self._deadlines = deadlines
        self._end_command = end_command
        self._work: asyncio.Task[Any] | None = None
        self._is_cancelled = False
        self._aborting: asyncio.Task[None] | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, which enters its phases itself; no timer outlives it."""
        task = asyncio.create_task(work)
        self._work = task
        try:
            return await task
        finally:
            self._drop_timer()

    def enter(self, phase: Phase) -> None:
        """What was asked before holds on: an abort begins with the phase; for a stop the work looks by `check`."""
        if phase not in NEXT_PHASES[self.phase]:
            raise ValueError(f"work does not go from {self.phase.name} to {phase.name}")
        self.phase = phase
        self._drop_timer()
        if Reaction.ABORT in self._reactions():
            self._abort_later()

    def check(self) -> None:
        """At a safe point: raises Stopped if something was asked that stops this phase."""
        if Reaction.STOP_NOW in self._reactions():
            raise Stopped(self.ending())

    def ending(self) -> Ending:
        return ending(self.phase, self.asked)

    def ask(self, request: Request) -> Reaction | None:
        """Returns what is done about it; None if it had been asked already."""
        if request in self.asked:
            return None
        self.asked.add(request)
        reaction = REACTIONS[self.phase][request]
        if reaction == Reaction.STOP_NOW:
            self._stop_now()
        elif reaction == Reaction.ABORT:
            self._abort_later()
        return reaction

    def _reactions(self) -> set[Reaction]:
        return {REACTIONS[self.phase][request] for request in self.asked}

    def _stop_now(self) -> None:
        """Once: what the work does upon it, such as ending its command on the node, is not interrupted again."""
        if self._work is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._work.cancel()

    def _abort_later(self) -> None:
        if self._work is not None:
            grace_seconds, bound_seconds = self._deadlines.of(self.phase)
            self._aborting = asyncio.create_task(self._abort(grace_seconds, bound_seconds))

    async def _abort(self, grace_seconds: float, bound_seconds: float) -> None:
        """End the command that runs on the node; when even that tells nothing within the bound, end without it."""
        bound = time.monotonic() + bound_seconds
        await asyncio.sleep(grace_seconds)
        self.was_aborted = True
        await self._end_command()
        await asyncio.sleep(max(0.0, bound - time.monotonic()))
        self._stop_now()

    def _drop_timer(self) -> None:
        if self._aborting is not None:
            self._aborting.cancel()
            self._aborting = None
