"""What one target's run writes down as it goes: its steps with their durations, its log lines, its end."""

from __future__ import annotations

import time

from deploys.measures import STEPS
from deploys.node.session import CommandEnded, Event, Linked, OutputLine, Removed, StepStarted, Verified, Waiting
from deploys.operations.transitions import Move
from deploys.queue.worker_name import this_worker
from deploys.states import Step, TargetStatus
from deploys.told import Telling, Told
from deploys.told import marked as _
from deploys.worker import story
from deploys.worker.assignment import Assignment
from deploys.worker.batch import StepChange
from deploys.worker.group_commit import GroupCommitWriter
from deploys.worker.log_share import LogShare, Output
from deploys.worker.outcomes import Outcome
from deploys.worker.switch_permits import Granted, Permit, SwitchRequest
from inventory.nodes.transports.flow import Flow


class TargetLog:
    """step: the one in progress. source: where the release came from, '' until that is known. sent_bytes: over the wire for it,
    and full_bytes: of the whole artifact; None until that is known, and when nothing had to be.

    flow: of the programs whose output comes here; it is held while too much of it waits to be written.
    """

    def __init__(self, assignment: Assignment, writer: GroupCommitWriter) -> None:
        self.step = Step.CONNECT
        self.source = ""
        self.sent_bytes: int | None = None
        self.full_bytes: int | None = None
        self.flow = Flow()
        self._assignment = assignment
        self._writer = writer
        self._began = time.monotonic()
        self._seconds: dict[str, float] = {}
        size = writer.log_size(assignment.operation_id)
        self._share = LogShare(targets=assignment.operation_total, size=size)

    def begin(self, step: Step) -> None:
        if step != self.step:
            self._finish_step()
            self.step = step
            self._writer.step(self._change_to(step))

    def say(self, text: str | Telling, *, step: Step | None = None) -> None:
        """What the commands printed before, and found no room, comes before it. step: None for the one in progress."""
        for output in self._share.rest():
            self._write(output)
        self._line(self.step if step is None else step, "system", text)

    def on_event(self, event: Event) -> None:
        """Of the node program."""
        match event:
            case OutputLine(stream=stream, text=text):
                output = Output(self.step, stream, text)
                if self._share.has_room(output):
                    self._write(output)
            case StepStarted(step=step):
                self.begin(Step(step))
                self._tell_of_step()
            case CommandEnded():
                self.say([story.command_ended(self.step, event)])
            case Linked():
                self.say([story.linked(event, is_way_back=self.step != Step.SWITCH)])
            case Verified():
                self.say([story.verified(self._assignment.version)])
            case Removed():
                self.say([story.removed(event)])
            case Waiting():
                self.say([_wait(event)])

    def _tell_of_step(self) -> None:
        service, version = self._assignment.service, self._assignment.version
        if self.step == Step.VERIFY:
            self.say([story.verifying(version, timeout_seconds=service.version_timeout_seconds)])
        elif told := story.command_begins(self.step, timeout_seconds=service.command_timeout_seconds):
            self.say([told])

    def _write(self, output: Output) -> None:
        self._line(output.step, output.stream, output.text)

    def _line(self, step: str, stream: str, text: str | Telling) -> None:
        self._writer.line(
            operation_id=self._assignment.operation_id,
            target_id=self._assignment.target_id,
            instance_id=self._assignment.instance_pk,
            step=step,
            stream=stream,
            text=text,
            flow=self.flow,
        )

    @property
    def seconds_in_step(self) -> float:
        return time.monotonic() - self._began

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
        """Commit the outcome; a target with an error keeps the step in which it failed. Raises EventRefused."""
        self._finish_step()
        await self._move(outcome, self._failed_step(outcome) if outcome.error_code else outcome.last_step)
        for step, seconds in self._seconds.items():
            STEPS.observe(seconds, self._assignment.kind, step)

    def _failed_step(self, outcome: Outcome) -> Step:
        """What the way back is for is the failure of what came before it."""
        step = outcome.failed_step or self.step
        if step != Step.REVERT:
            return step
        before = (Step.CONFIRM, Step.VERIFY)
        return next((step for step in before if step in self._seconds), Step.RESTART)

    async def requeue(self) -> None:
        """Put the target back for another claim, as if untouched. Raises EventRefused."""
        self.say([story.stops(worker=this_worker())])
        await self._move(Outcome(status=TargetStatus.PENDING), Step.QUEUED)

    async def _move(self, outcome: Outcome, step: Step) -> None:
        for output in self._share.rest():
            self._write(output)
        if outcome.told:
            self.say(outcome.told)
        elif outcome.is_whole:
            self.say([story.completed(self._assignment.version)], step=Step.DONE)
        move = Move.of(
            self._assignment.as_claimed,
            to=outcome.status,
            actor=self._assignment.actor,
            fence=self._assignment.fence,
            error_code=outcome.error_code,
            told=outcome.told,
            reverted=outcome.reverted,
            source=self.source,
            sent_bytes=self.sent_bytes,
            full_bytes=self.full_bytes,
            step=step,
            effect=outcome.effect,
            wait=outcome.wait,
        )
        await self._writer.move(move, last_step=self._change_to(step))

    def _finish_step(self) -> None:
        now = time.monotonic()
        self._seconds[self.step] = round(self._seconds.get(self.step, 0.0) + now - self._began, 4)
        self._began = now

    def _change_to(self, step: Step) -> StepChange:
        return StepChange(
            target_id=self._assignment.target_id,
            fence=self._assignment.fence,
            step=step,
            seconds=dict(self._seconds),
        )


def _wait(event: Waiting) -> Told:
    match event.ending:
        case "":
            return Told(
                _(
                    "The node waits for claim %(fence)s's program (pid %(pid)s), which is in the middle of a switch, at most "
                    "%(seconds)s s."
                ),
                {"fence": event.fence, "pid": event.pid, "seconds": event.seconds},
            )
        case "killed":
            text = _("Claim %(fence)s's program did not end in time and was killed on the node.")
        case _:
            text = _("Claim %(fence)s's program has ended; going on.")
    return Told(text, {"fence": event.fence})
