"""A request to stop with work under it: what is cancelled and aborted, and when."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from deploys.worker.interruption import Deadlines, Interruption, Phase, Request, Stopped

REQUEUE, SUPERSEDE, CANCEL = Request.REQUEUE, Request.SUPERSEDE, Request.CANCEL
PREPARING, SWITCHING, RECOVERING = Phase.PREPARING, Phase.SWITCHING, Phase.RECOVERING

SHORT = Deadlines(grace_seconds=0.05, bound_seconds=0.2, recovering_grace_seconds=0.05, recovering_bound_seconds=0.2)


async def nothing() -> None:
    pass


@dataclass
class Work:
    """Goes into a phase and stays there until it is cancelled; the node's command ends when `ended` is set."""

    phases: tuple[Phase, ...]
    stays_seconds: float = 5.0
    commands_ended: int = 0
    cancels: int = 0
    interruption: Interruption = field(init=False)

    def __post_init__(self) -> None:
        self.interruption = Interruption((), deadlines=SHORT, end_command=self._end_command)

    async def _end_command(self) -> None:
        self.commands_ended += 1

    async def run(self, *requests: Request) -> str:
        running = asyncio.create_task(self.interruption.run(self._work()))
        await asyncio.sleep(0.01)
        for request in requests:
            self.interruption.ask(request)
            await asyncio.sleep(0.005)
        return await running

    async def _work(self) -> str:
        for phase in self.phases:
            self.interruption.enter(phase)
        try:
            await asyncio.sleep(self.stays_seconds)
        except asyncio.CancelledError:
            self.cancels += 1
            await asyncio.sleep(0.02)  # as one that ends its command on the node
            return "cancelled"
        return "done"


def test_work_is_cancelled_once_however_often_it_is_asked() -> None:
    work = Work(phases=(PREPARING,))
    assert asyncio.run(work.run(SUPERSEDE, REQUEUE, CANCEL)) == "cancelled"
    assert (work.cancels, work.commands_ended) == (1, 0)


@pytest.mark.parametrize("phases", [(PREPARING, SWITCHING), (RECOVERING,)])
def test_a_cancelled_switch_gets_its_grace_then_its_command_is_ended_then_it_is_given_up(
    phases: tuple[Phase, ...],
) -> None:
    work = Work(phases=phases)
    assert asyncio.run(work.run(CANCEL)) == "cancelled"
    assert (work.cancels, work.commands_ended, work.interruption.was_aborted) == (1, 1, True)


def test_a_switch_that_ends_within_its_grace_is_left_alone() -> None:
    work = Work(phases=(PREPARING, SWITCHING), stays_seconds=0.03)
    assert asyncio.run(work.run(CANCEL)) == "done"
    assert (work.cancels, work.commands_ended, work.interruption.was_aborted) == (0, 0, False)


def test_no_timer_outlives_the_phase_that_it_was_for() -> None:
    work = Work(phases=(PREPARING, SWITCHING), stays_seconds=0.3)

    async def run() -> str:
        running = asyncio.create_task(work.run(CANCEL))
        await asyncio.sleep(0.03)
        work.interruption.enter(PREPARING)
        return await running

    assert asyncio.run(run()) == "done"
    assert (work.cancels, work.commands_ended) == (0, 0)


def test_a_cancel_from_before_it_began_bounds_a_recovery_too() -> None:
    work = Work(phases=(RECOVERING,))
    work.interruption.ask(CANCEL)
    assert asyncio.run(work.run()) == "cancelled"
    assert (work.cancels, work.commands_ended) == (1, 1)


def test_work_that_has_not_begun_is_not_cancelled_but_looks_itself() -> None:
    looked = []

    async def run() -> str:
        waiting = Interruption((), deadlines=SHORT, end_command=nothing)

        async def work() -> str:
            looked.append(True)
            waiting.enter(PREPARING)
            waiting.check()
            return "done"

        running = asyncio.create_task(waiting.run(work()))
        await asyncio.sleep(0)  # its task is made by now, and not begun
        waiting.ask(CANCEL)
        return await running

    with pytest.raises(Stopped):
        asyncio.run(run())
    assert looked
