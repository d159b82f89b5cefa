"""Carry out one claimed target: its steps in order, exceptions to an outcome in one ladder."""

from __future__ import annotations

import asyncio
import logging
import time

from django.db import connection

from deploys.error_codes import ErrorCode
from deploys.node.session import NodeError, NodeSession, Staged, StaleFence, Switch
from deploys.packages.errors import PackageError
from deploys.states import Kind, Step, StopReason, TargetStatus
from deploys.worker import leases
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.failpoints import pause_at
from deploys.worker.group_commit import Recorder
from deploys.worker.node_link import NodeLink
from deploys.worker.node_work import NodeRun
from deploys.worker.outcomes import UNKNOWN, Outcome, broken_off, failure, stopped, switch_ended, unresolved
from deploys.worker.recovery import ended_before, half_switched, settled, switched_from
from deploys.worker.target_log import Journal
from inventory.instances.facts import Effect
from inventory.nodes.transports.base import (
    ConnectionLost,
    HostKeyMismatch,
    NodeUnreachable,
    NodeUnsuitable,
    RunTimeout,
    TransportError,
)

logger = logging.getLogger(__name__)

NEXT_STEP = {
    ErrorCode.NODE_UNREACHABLE: "The old version runs. See that the node is up and its address right, then retry.",
    ErrorCode.NODE_HOST_KEY_MISMATCH: "Nothing was sent. Compare the fingerprint on the node itself before you accept it.",
    ErrorCode.NODE_UNSUITABLE: "Nothing was sent, the old version runs. Put that right, or edit the node; then retry.",
}
FENCE_ADVICE = "Look into .release below its deploy root, remove the claim.* folders there, then retry."
ABORT_SECONDS = 10
CLAIM_SECONDS = 120
# A cancel ends every target within 60 s. A restart under way gets a grace; then it is ended, and the way back too. For
# a dead worker's restart most of that time went by until its lease had run out.
CANCEL_GRACE_SECONDS = 15
CANCEL_BOUND_SECONDS = 50
TAKEN_OVER_GRACE_SECONDS = 5
TAKEN_OVER_BOUND_SECONDS = 40


def _still_held_above(newest: int, *, target_id: int, fence: int) -> bool:
    try:
        leases.rise_above(newest)
        return leases.is_held(target_id, fence)
    finally:
        connection.close()  # this thread goes back to a pool, where it would stay open


class Stopped(Exception):
    """The target was asked to stop, and stands at a safe point."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


class HandedBack(Exception):
    """The worker is stopping: the target goes back to the queue untouched."""


class ClaimLost(Exception):
    """Another worker holds the target by now; nothing may be written or done for it here."""


class TargetRun:
    """One target's way through its steps. `ask_to_stop` and `hand_back` may be called at any time."""

    def __init__(self, assignment: Assignment, node_run: NodeRun, recorder: Recorder) -> None:
        self.assignment = assignment
        self._node_run = node_run
        self._journal = Journal(assignment, recorder)
        self._link = NodeLink(assignment, node_run, self._journal)
        self._stop = assignment.stop_reason
        self._is_handing_back = False
        self._has_begun = False
        self._is_interrupted = False
        self._may_not_be_interrupted = False
        self._is_taking_over = False
        self._half_switched: Effect | None = None
        self._was_aborted = False
        self._work: asyncio.Task[Outcome] | None = None
        self._aborting: asyncio.Task[None] | None = None

    # What others may ask of it.

    def ask_to_stop(self, reason: StopReason) -> None:
        """At once while nothing visible has changed on the node; a switch gets a grace, then a cancel aborts it."""
        if self._stop in (reason, StopReason.CANCEL):
            return
        self._stop = reason
        if not self._may_not_be_interrupted:
            self._interrupt()
        elif reason == StopReason.CANCEL:
            self._abort_later()

    def hand_back(self) -> None:
        """The worker stops: give the target back, unless its switch is under way; that is finished first."""
        self._is_handing_back = True
        if not self._may_not_be_interrupted or self._is_taking_over:
            self._interrupt()

    def _interrupt(self) -> None:
        """Once only, and not before the work has begun: that looks for itself whether it is to stop."""
        if self._work is not None and self._has_begun and not self._is_interrupted:
            self._is_interrupted = True
            self._work.cancel()

    def _abort_later(self) -> None:
        if self._is_taking_over:
            call = self._abort_after(TAKEN_OVER_GRACE_SECONDS, bound_seconds=TAKEN_OVER_BOUND_SECONDS)
        else:
            call = self._abort_after(CANCEL_GRACE_SECONDS, bound_seconds=CANCEL_BOUND_SECONDS)
        self._aborting = asyncio.create_task(call)

    async def _abort_after(self, grace_seconds: float, *, bound_seconds: float) -> None:
        """End the command that runs on the node; when even that tells nothing within the bound, end without it."""
        bound = time.monotonic() + bound_seconds
        await asyncio.sleep(grace_seconds)
        self._was_aborted = True
        await self._end_command()
        await asyncio.sleep(max(0.0, bound - time.monotonic()))
        self._interrupt()

    async def _end_command(self) -> None:
        fence = self.assignment.prior_fence if self._is_taking_over else None
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await (await self._link.open(fence)).abort()
        except (TransportError, NodeError, TimeoutError) as error:
            self._journal.say(f"The running command could not be stopped on the node: {error or 'no answer'}")

    # The run.

    async def run(self) -> None:
        """Work until the target has ended, is handed back, or belongs to someone else. Never raises."""
        self._work = asyncio.create_task(self._outcome())
        try:
            outcome = await self._work
        except HandedBack:
            # A switch broken off on the node stays in its step, so that the next worker knows of it.
            if self._half_switched is None:
                await self._journal.hand_back()
        except StaleFence as stale:
            await self._refused_as_stale(stale)
        except ClaimLost:
            self._lose_claim()
        else:
            if self._half_switched is not None:
                outcome = broken_off(outcome, self._half_switched)
            await self._journal.end(outcome)
            await pause_at("recorded")
        finally:
            if self._aborting is not None:
                self._aborting.cancel()

    async def _refused_as_stale(self, stale: StaleFence) -> None:
        """Another worker is at it; or the database is younger than the node's record, and gives out higher tokens now."""
        if stale.newest > leases.HIGHEST_FENCE:
            message = (
                f"Node '{self.assignment.node.name}' records claim {stale.newest}, higher than can be. {FENCE_ADVICE}"
            )
            await self._journal.end(failure(ErrorCode.INTERNAL_ERROR, message))
            return
        is_held = await asyncio.to_thread(
            _still_held_above, stale.newest, target_id=self.assignment.target_id, fence=self.assignment.fence
        )
        if not is_held or self._is_taking_over:
            self._lose_claim()
            return
        self._journal.say("The node knows higher claims than this database ever gave out: going on above them.")
        await self._journal.hand_back()

    def _lose_claim(self) -> None:
        logger.warning("Target %d was handed on to another worker.", self.assignment.target_id)

    async def _outcome(self) -> Outcome:
        """The ladder: every way to end, as an Outcome. Raises HandedBack, ClaimLost or StaleFence."""
        self._has_begun = True
        try:
            async with self._node_run.slots:
                return await self._steps()
        except Stopped as stop:
            return stopped(stop.reason, by="A rollback goes first.")
        except asyncio.CancelledError:
            if self._journal.step == Step.BEFORE_SWITCH:
                await self._end_command()
            return self._interrupted()
        except PackageError as error:
            return failure(error.code, error.message)
        except NodeError as error:
            return failure(error.code, error.message)
        except TransportError as error:
            where = f"Node '{self.assignment.node.name}': {error.message}."
            if self._may_not_be_interrupted:
                return unresolved(ErrorCode(error.code), f"{where} The switch had been sent: sync the service to see.")
            return failure(ErrorCode(error.code), f"{where} {NEXT_STEP[ErrorCode(error.code)]}")
        except (HandedBack, ClaimLost, StaleFence):
            raise
        except Exception as error:
            logger.exception("Target %d failed in an unforeseen way.", self.assignment.target_id)
            return failure(ErrorCode.INTERNAL_ERROR, f"{type(error).__name__} in the worker; its log has the details.")

    def _interrupted(self) -> Outcome:
        if self._is_taking_over and self._is_handing_back:
            raise ClaimLost  # and not HandedBack: whoever is next has to know that a switch may be under way
        if self._may_not_be_interrupted:
            return Outcome(
                status=TargetStatus.CANCELLED,
                error_message="Cancelled; the node did not say in time what became of the switch. Sync the service.",
                effect=UNKNOWN,
            )
        if self._stop:
            return stopped(self._stop, by="A rollback goes first.")
        raise HandedBack

    async def _steps(self) -> Outcome:
        await pause_at("claimed")
        if self.assignment.was_switching:
            done = await self._take_over()
            if done is not None:
                return done
        self._check_stop()
        if self._half_switched is not None and self.assignment.package is not None:
            package, is_staged = self.assignment.package, False
        else:
            package, is_staged = await self._release_on_node()
        await pause_at("staged")
        if is_staged:
            await self._before_switch(package)
        await self._permission()
        await pause_at("permitted")
        return await self._switch(package, is_staged=is_staged)

    def _check_stop(self) -> None:
        if self._stop:
            raise Stopped(self._stop)
        if self._is_handing_back:
            raise HandedBack

    # Where the release comes from.

    async def _release_on_node(self) -> tuple[PinnedPackage, bool]:
        """Have the release on the node; (what it is, whether it was staged and checked just now)."""
        pinned = self.assignment.package
        if self.assignment.kind == Kind.ROLLBACK and pinned is not None:
            self._journal.source = "node"
            return pinned, False
        return await self._stage(), True

    async def _stage(self) -> PinnedPackage:
        """Send the release, or find it whole on the node. Nothing visible changes."""
        self._journal.begin(Step.FETCH)
        self._node_run.connect_early()
        is_download = not self._node_run.is_in_store()
        pinned, artifact = await self._node_run.artifact()
        await pause_at("fetched")
        self._journal.source = "download" if is_download or self.assignment.kind == Kind.DEPLOY else "store"
        self._journal.begin(Step.CONNECT)
        staged = await self._link.try_again(
            lambda session: self._node_run.stage(session, self.assignment, pinned, artifact, self._begin_stage)
        )
        if staged.outcome == "present":
            self._journal.source = "node"
        return pinned

    def _begin_stage(self) -> None:
        self._journal.begin(Step.STAGE)

    async def _before_switch(self, package: PinnedPackage) -> None:
        service = self.assignment.service
        if not service.before_switch_command:
            return
        self._journal.begin(Step.BEFORE_SWITCH)
        await pause_at("before_switch")
        session = await self._link.open()
        ended = await session.before_switch(
            release=package.release,
            command=service.before_switch_command,
            timeout_seconds=service.command_timeout_seconds,
        )
        if ended.timed_out or ended.exit_status != 0:
            raise NodeError(
                ErrorCode.COMMAND_TIMEOUT if ended.timed_out else ErrorCode.COMMAND_FAILED,
                f"The before-switch command ended with exit status {ended.exit_status} on node "
                f"'{self.assignment.node.name}'; the old version runs. The log has its output.",
            )

    # The switch.

    async def _permission(self) -> None:
        """Commit that the switch begins: from here on a rollback or a cancel waits for its end."""
        self._check_stop()
        self._may_not_be_interrupted = True
        permit = await self._journal.ask_to_switch()
        if permit:
            self._may_not_be_interrupted = False
            if permit == "lost":
                raise ClaimLost
            raise Stopped(StopReason(permit))

    async def _switch(self, package: PinnedPackage, *, is_staged: bool) -> Outcome:
        switched = await self._send_switch(package)
        await pause_at("switched")
        if switched.outcome == "not_whole" and not is_staged:
            self._journal.say(f"Release '{package.release}' is not whole on the node; staging it again.")
            self._may_not_be_interrupted = False
            restaged = await self._stage()
            await self._before_switch(restaged)
            await self._permission()
            switched = await self._send_switch(restaged)
        for warning in switched.warnings:
            self._journal.say(f"Warning: {warning}")
        return switch_ended(self.assignment, package, switched, self._stop, was_aborted=self._was_aborted)

    async def _send_switch(self, package: PinnedPackage) -> Switch:
        """Send it once; when the answer is lost, ask the node what is true instead of sending again blindly."""
        try:
            return await self._link.try_again(
                lambda session: self._switch_on(session, package), is_safe_to_repeat=False
            )
        except (NodeUnreachable, HostKeyMismatch, NodeUnsuitable):
            self._may_not_be_interrupted = False  # nothing was sent, so nothing is unknown
            raise
        except (ConnectionLost, RunTimeout) as error:
            self._journal.say(f"{error.message}. Asking the node what became of the switch.")
            switched = await switched_from(self._link.open, self.assignment, package)
            return switched or await self._switch_on(await self._link.open(), package)

    async def _switch_on(self, session: NodeSession, package: PinnedPackage) -> Switch:
        return await session.switch(
            release=package.release,
            sha256=package.sha256,
            operation=self.assignment.public_id,
            restart_command=self.assignment.service.restart_command,
            timeout_seconds=self.assignment.service.command_timeout_seconds,
            keep=self._keep(package),
        )

    def _keep(self, package: PinnedPackage) -> list[str]:
        """Release folders that the clean-up spares: the newest successful ones, and what others will need."""
        rules = self.assignment.service
        newest = list(dict.fromkeys([package.release, *reversed(self.assignment.release_history)]))
        return list(dict.fromkeys([*newest[: rules.keep_releases], *self.assignment.releases_needed]))

    # Taking over from a worker that died.

    async def _take_over(self) -> Outcome | None:
        """Read off the node how far the dead worker's switch came; None: it has to be done still."""
        self._journal.say("Another worker's claim ran out; asking the node what is true.")
        pinned = self.assignment.package
        if pinned is None:
            return None
        self._may_not_be_interrupted = self._is_taking_over = True
        if self._stop == StopReason.CANCEL:
            self._abort_later()
        await settled(self._link.open, self.assignment)
        claimed = await self._link.try_again(lambda session: self._claim_root(session, pinned))
        ended = ended_before(claimed.truth.last, self.assignment, pinned)
        if ended is not None:
            return switch_ended(self.assignment, pinned, ended, self._stop, was_aborted=self._was_aborted)
        self._half_switched = half_switched(claimed.truth, self.assignment, pinned)
        self._may_not_be_interrupted = self._is_taking_over = False
        return None

    async def _claim_root(self, session: NodeSession, package: PinnedPackage) -> Staged:
        """Only claim: from here on a worker that was paused and comes back can not switch any more."""
        return await session.stage(
            release=package.release,
            version=self.assignment.version,
            sha256=package.sha256,
            operation=self.assignment.public_id,
            artifact_path=None,
            timeout_seconds=CLAIM_SECONDS,
        )
