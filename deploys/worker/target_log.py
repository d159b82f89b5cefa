"""What one target's run writes down as it goes: its steps with their durations, its log lines, its end."""

from __future__ import annotations

import time

from deploys.node.session import Event, OutputLine, StepStarted, Waiting
from deploys.operations.transitions import Move
from deploys.states import Step, TargetStatus
from deploys.worker.assignment import Assignment
from deploys.worker.group_commit import GroupCommitWriter, StepChange
from deploys.worker.outcomes import Outcome
from deploys.worker.switch_permits import Granted, Permit, SwitchRequest


class TargetLog:
    """step: the one in progress. source: where the release came from, '' until that is known."""

    def __init__(self, assignment: Assignment, writer: GroupCommitWriter) -> None:
        self.step = Step.CONNECT
        self.source = ""
        self._assignment = assignment
        self._writer = writer
        self._began = time.monotonic()
        self._seconds: dict[str, float] = {}

    def begin(self, step: Step) -> None:
        if step != self.step:
            self._finish_step()
            self.step = step
            self._write_step(step)

    def say(self, text: str, *, stream: str = "system") -> None:
        self._writer.line(
            operation_id=self._assignment.operation_id,
            instance_id=self._assignment.instance_pk,
            step=self.step,
            stream=stream,
            text=text,
        )

    def on_event(self, event: Event) -> None:
        """Of the node program."""
        match event:
            case OutputLine(stream=stream, text=text):
                self.say(text, stream=stream)
            case StepStarted(step=step):
                self.begin(Step(step))
            case Waiting():
                self.say(_wait(event))

    async def ask_to_switch(self) -> Permit:
        """Commit that the switch begins, if it may. Granted, the step is `switch`."""
        self._finish_step()
        permit = await self._writer.permit_switch(
            SwitchRequest(
                target_id=self._assignment.target_id,
                fence=self._assignment.fence,
                operation_id=self._assignment.operation_id,
                seconds=self._seconds,
            )
        )
        if isinstance(permit, Granted):
            self.step, self._began = Step.SWITCH, time.monotonic()
        return permit

    async def end(self, outcome: Outcome) -> None:
        """Commit the outcome; a target with an error keeps the step in which it failed."""
        self._finish_step()
        await self._move(outcome, self._failed_step(outcome) if outcome.error_code else Step.DONE)

    def _failed_step(self, outcome: Outcome) -> Step:
        """What the way back is for is the restart's failure."""
        step = outcome.failed_step or self.step
        return Step.RESTART if step == Step.REVERT else step

    async def requeue(self) -> None:
        """Put the target back for another claim, as if untouched."""
        await self._move(Outcome(status=TargetStatus.PENDING), Step.QUEUED)

    async def _move(self, outcome: Outcome, step: Step) -> None:
        if outcome.error_message:
            self.say(outcome.error_message)
        self._write_step(step)
        await self._writer.move(
            Move.of(
                self._assignment.as_claimed,
                to=outcome.status,
                actor=self._assignment.actor,
                fence=self._assignment.fence,
                error_code=outcome.error_code,
                error_message=outcome.error_message,
                reverted=outcome.reverted,
                source=self.source,
                step=step,
                effect=outcome.effect,
            )
        )

    def _finish_step(self) -> None:
        now = time.monotonic()
        self._seconds[self.step] = round(self._seconds.get(self.step, 0.0) + now - self._began, 4)
        self._began = now

    def _write_step(self, step: Step) -> None:
        self._writer.step(
            StepChange(
                target_id=self._assignment.target_id,
                fence=self._assignment.fence,
                step=step,
                seconds=dict(self._seconds),
            )
        )


def _wait(event: Waiting) -> str:
    match event.ending:
        case "":
            who = f"claim {event.fence}'s program (pid {event.pid})"
            return f"The node waits for {who}, which is in the middle of a switch, at most {event.seconds} s."
        case "killed":
            return f"Claim {event.fence}'s program did not end in time and was killed on the node."
        case _:
            return f"Claim {event.fence}'s program has ended; going on."
