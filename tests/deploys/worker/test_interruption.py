"""What a request to stop comes to, in every phase: the table, its sequences, the endings, the moves between phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import pytest

from deploys.states import StopReason
from deploys.worker.interruption import (
    DEADLINES,
    REACTIONS,
    Ending,
    Interruption,
    Phase,
    Reaction,
    Request,
    Stopped,
    ending,
)

REQUEUE, SUPERSEDE, CANCEL = Request.REQUEUE, Request.SUPERSEDE, Request.CANCEL
WAITING, PREPARING, SWITCHING, RECOVERING = Phase.WAITING, Phase.PREPARING, Phase.SWITCHING, Phase.RECOVERING

WAY_TO = {
    WAITING: (),
    PREPARING: (PREPARING,),
    SWITCHING: (PREPARING, SWITCHING),
    RECOVERING: (RECOVERING,),
}
SEQUENCES = [
    (phase, requests) for phase in Phase for length in (1, 2, 3) for requests in product(Request, repeat=length)
]


async def nothing() -> None:
    pass


def interruption(phase: Phase, *, asked: Sequence[Request] = ()) -> Interruption:
    """In that phase, without work: so it needs no loop."""
    made = Interruption(asked, deadlines=DEADLINES, end_command=nothing)
    for each in WAY_TO[phase]:
        made.enter(each)
    return made


@pytest.mark.parametrize(
    ("phase", "requeue", "supersede", "cancel"),
    [
        (WAITING, Reaction.LOOK_LATER, Reaction.LOOK_LATER, Reaction.LOOK_LATER),
        (PREPARING, Reaction.STOP_NOW, Reaction.STOP_NOW, Reaction.STOP_NOW),
        (SWITCHING, Reaction.FINISH, Reaction.FINISH, Reaction.ABORT),
        (RECOVERING, Reaction.STOP_NOW, Reaction.FINISH, Reaction.ABORT),
    ],
)
def test_each_cell_of_the_table(phase: Phase, requeue: Reaction, supersede: Reaction, cancel: Reaction) -> None:
    answers = [interruption(phase).ask(request) for request in (REQUEUE, SUPERSEDE, CANCEL)]
    assert answers == [requeue, supersede, cancel]
    assert REACTIONS.keys() == set(Phase)
    assert all(row.keys() == set(Request) for row in REACTIONS.values())


@dataclass
class Flags:
    """The seven flags that the phases replaced, as they stood: what the table is held against."""

    has_begun: bool = True
    may_not_be_interrupted: bool = False
    is_taking_over: bool = False
    stop: str = ""
    is_handing_back: bool = False
    is_interrupted: bool = False
    is_aborting: bool = False
    seen: list[tuple[bool, bool]] = field(default_factory=list)

    @classmethod
    def of(cls, phase: Phase) -> Flags:
        return {
            WAITING: cls(has_begun=False),
            PREPARING: cls(),
            SWITCHING: cls(may_not_be_interrupted=True),
            RECOVERING: cls(may_not_be_interrupted=True, is_taking_over=True),
        }[phase]

    def ask(self, request: Request) -> None:
        if request == REQUEUE:
            self._hand_back()
        else:
            self._ask_to_stop(request.value)
        self.seen.append((self.is_interrupted, self.is_aborting))

    def _ask_to_stop(self, reason: str) -> None:
        if self.stop in (reason, "cancel"):
            return
        self.stop = reason
        if not self.may_not_be_interrupted:
            self._interrupt()
        elif reason == "cancel":
            self.is_aborting = True

    def _hand_back(self) -> None:
        self.is_handing_back = True
        if not self.may_not_be_interrupted or self.is_taking_over:
            self._interrupt()

    def _interrupt(self) -> None:
        self.is_interrupted = self.is_interrupted or self.has_begun

    def ending(self) -> Ending:
        if self.is_taking_over and self.is_handing_back:
            return Ending.CLAIM_LOST
        if self.may_not_be_interrupted:
            return Ending.UNRESOLVED
        return {"": Ending.REQUEUED, "supersede": Ending.SUPERSEDED, "cancel": Ending.CANCELLED}[self.stop]


@pytest.mark.parametrize(("phase", "requests"), SEQUENCES)
def test_a_sequence_of_requests_comes_to_what_the_flags_made_of_it(phase: Phase, requests: Sequence[Request]) -> None:
    flags, phases = Flags.of(phase), interruption(phase)
    seen, answers = [], []
    for request in requests:
        flags.ask(request)
        answers.append(phases.ask(request))
        seen.append((Reaction.STOP_NOW in answers, Reaction.ABORT in answers))

    assert seen == flags.seen
    assert answers.count(Reaction.ABORT) <= 1, "one timer, however often a cancel is asked for"
    assert phases.ending() == flags.ending()


@pytest.mark.parametrize(
    ("asked", "where_nothing_has_changed", "switching", "recovering"),
    [
        ((), Ending.REQUEUED, Ending.UNRESOLVED, Ending.UNRESOLVED),
        ((REQUEUE,), Ending.REQUEUED, Ending.UNRESOLVED, Ending.CLAIM_LOST),
        ((SUPERSEDE,), Ending.SUPERSEDED, Ending.UNRESOLVED, Ending.UNRESOLVED),
        ((CANCEL,), Ending.CANCELLED, Ending.UNRESOLVED, Ending.UNRESOLVED),
        ((REQUEUE, SUPERSEDE), Ending.SUPERSEDED, Ending.UNRESOLVED, Ending.CLAIM_LOST),
        ((REQUEUE, CANCEL), Ending.CANCELLED, Ending.UNRESOLVED, Ending.CLAIM_LOST),
        ((SUPERSEDE, CANCEL), Ending.CANCELLED, Ending.UNRESOLVED, Ending.UNRESOLVED),
        ((REQUEUE, SUPERSEDE, CANCEL), Ending.CANCELLED, Ending.UNRESOLVED, Ending.CLAIM_LOST),
    ],
)
def test_how_stopped_work_ends(
    asked: Sequence[Request], where_nothing_has_changed: Ending, switching: Ending, recovering: Ending
) -> None:
    assert ending(WAITING, asked) == ending(PREPARING, asked) == where_nothing_has_changed
    assert (ending(SWITCHING, asked), ending(RECOVERING, asked)) == (switching, recovering)


@pytest.mark.parametrize(("before", "after"), list(product(Phase, Phase)))
def test_only_these_phases_follow_on_each_other(before: Phase, after: Phase) -> None:
    allowed = {
        (WAITING, PREPARING), (WAITING, RECOVERING), (RECOVERING, PREPARING),
        (PREPARING, SWITCHING), (SWITCHING, PREPARING),
    }  # fmt: skip
    moving = interruption(before)
    if (before, after) in allowed:
        moving.enter(after)
        assert moving.phase == after
        return
    with pytest.raises(ValueError, match=f"from {before.name} to {after.name}"):
        moving.enter(after)
    assert moving.phase == before


@pytest.mark.parametrize("request_", Request)
def test_what_was_asked_before_it_began_stops_it_when_it_looks(request_: Request) -> None:
    waiting = interruption(WAITING)
    waiting.ask(request_)
    waiting.enter(PREPARING)
    with pytest.raises(Stopped) as stop:
        waiting.check()
    assert stop.value.ending == ending(PREPARING, [request_])


@pytest.mark.parametrize(
    ("asked", "stops"), [((), False), ((REQUEUE,), True), ((SUPERSEDE,), False), ((CANCEL,), False)]
)
def test_a_recovery_looks_for_a_requeue_alone(asked: Sequence[Request], stops: bool) -> None:
    recovering = interruption(RECOVERING, asked=asked)
    if not stops:
        recovering.check()
        return
    with pytest.raises(Stopped) as stop:
        recovering.check()
    assert stop.value.ending == Ending.CLAIM_LOST


@pytest.mark.parametrize("request_", Request)
def test_what_a_switch_went_on_in_spite_of_stops_it_once_that_is_over(request_: Request) -> None:
    """The node said that the release is not intact: nothing has changed, so nothing is sent again."""
    switching = interruption(SWITCHING)
    switching.ask(request_)
    switching.check()
    switching.enter(PREPARING)
    with pytest.raises(Stopped):
        switching.check()


@pytest.mark.parametrize("reason", StopReason)
def test_a_reason_that_the_database_knows_is_a_request(reason: StopReason) -> None:
    assert {request.value for request in Request.of(reason)} == {reason.value} - {""}
