"""Carry out one claimed target: recovery, its steps, and exceptions to an outcome in one ladder."""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto

from deploys.error_codes import ErrorCode
from deploys.node.session import NodeError, StaleFence
from deploys.packages.errors import PackageError
from deploys.queue.worker_name import this_worker
from deploys.states import Step
from deploys.told import Facts, Told
from deploys.told import marked as _
from deploys.worker import leases, story
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.claim_limits import MAX_REFUSALS
from deploys.worker.confirmation import look_after
from deploys.worker.failpoints import pause_at
from deploys.worker.group_commit import GroupCommitWriter
from deploys.worker.interruption import (
    MAY_HAVE_SWITCHED,
    Deadlines,
    Ending,
    Interruption,
    Phase,
    Request,
    Stopped,
)
from deploys.worker.node_link import NodeLink
from deploys.worker.node_work import NodeWork
from deploys.worker.outcomes import (
    NOT_SWITCHED,
    Outcome,
    broken_off,
    ended_early,
    failure,
    of_node,
    on_node,
    unresolved,
    unstorable,
)
from deploys.worker.pools import ask_database
from deploys.worker.recovery import BrokenOff, Ended, NeverBegan, Unconfirmed, recover, told_of
from deploys.worker.refusals import EventRefused
from deploys.worker.steps import Steps
from deploys.worker.target_log import TargetLog
from inventory.database.outage import Patience
from inventory.instances.facts import Effect
from inventory.nodes.transports.base import LIAR_ADVICE, NodeMisbehaved, TransportError

logger = logging.getLogger(__name__)

NEXT_STEP = {
    ErrorCode.NODE_UNREACHABLE: _("Nothing was switched. See that the node is up and its address right, then retry."),
    ErrorCode.NODE_HOST_KEY_MISMATCH: _(
        "Nothing was sent. Compare the fingerprint on the node itself before you accept it."
    ),
    ErrorCode.JUMP_UNREACHABLE: _(
        "Nothing was switched. See that the jump host is up and its address right, then retry."
    ),
    ErrorCode.JUMP_HOST_KEY_MISMATCH: _(
        "Nothing was sent. Compare the fingerprint on the jump host itself before you accept it."
    ),
    ErrorCode.NODE_UNSUITABLE: _("Nothing was switched. Put that right, or edit the node; then retry."),
}
# A line may be refused, then the end itself, then what is known to have come of it.
TRIES_TO_END = 3
FENCE_ADVICE = Told(
    _(
        "See that no other system deploys to this deploy root; then look into .release below it, remove the claim.* folders "
        'there, and retry (docs/upgrade.md, "A node that names a newer claim").'
    )
)


class TargetRun:
    """One target's way through its steps. `ask` may be called at any time."""

    def __init__(
        self, assignment: Assignment, node_work: NodeWork, writer: GroupCommitWriter, *, deadlines: Deadlines
    ) -> None:
        self.assignment = assignment
        self._slots = node_work.slots
        self._abort_seconds = deadlines.abort_seconds
        self._log = TargetLog(assignment, writer)
        self._link = NodeLink(assignment, node_work, self._log)
        self._interruption = Interruption(
            Request.of(assignment.stop_reason), deadlines=deadlines, end_command=self._end_command
        )
        self._steps = Steps(
            assignment,
            node_work,
            link=self._link,
            log=self._log,
            interruption=self._interruption,
            end_command=self._end_command,
        )
        self._broken_off: Effect | None = None
        self._is_ending = False

    def ask(self, request: Request, *, by: tuple[str, str] | None = None) -> None:
        """What comes of it, and when, is the table's word in `interruption`. by: the rollback that asks, and who asked for it."""
        if request not in self._interruption.asked and not self._is_ending:
            self._tell_of(request, by)
        self._interruption.ask(request)

    def _tell_of(self, request: Request, by: tuple[str, str] | None) -> None:
        match request:
            case Request.CANCEL:
                self._log.say([story.is_cancelled(self.assignment.public_id)])
            case Request.SUPERSEDE if by is not None:
                self._log.say([story.gives_way(*by)])

    async def run(self) -> bool:
        """Work until the target has ended, is requeued, or is somebody else's. False: our lease may hold it still.

        Raises what its log could not be written for.
        """
        try:
            end = await self._interruption.run(self._ladder())
        except StaleFence as stale:
            end = await self._refused_as_stale(stale)
        self._is_ending = True
        if isinstance(end, Outcome):
            await self._end(end if self._broken_off is None else broken_off(end, self._broken_off))
            await pause_at("recorded")
            return True
        if end == Ending.CLAIM_LOST:
            logger.warning("Target %d was reassigned to another worker, or is let go.", self.assignment.target_id)
        elif self._broken_off is None:
            # A switch broken off on the node stays in its step, so that the next worker knows of it.
            await self._requeue()
            return True
        return False

    async def _end(self, outcome: Outcome) -> None:
        """What the database refuses of it, or has refused of this target before, does not keep it from ending."""
        for _try in range(TRIES_TO_END):
            try:
                await self._log.end(outcome)
            except EventRefused as refused:
                outcome = unstorable(refused, outcome.effect)
            else:
                return
        await self._log.end(outcome)

    async def _requeue(self) -> None:
        try:
            await self._log.requeue()
        except EventRefused as refused:
            await self._end(unstorable(refused, None))

    async def _ladder(self) -> Outcome | Ending:
        """Every way to end: an Outcome, or for another worker, requeued or claim lost. Raises StaleFence."""
        try:
            return await self._work()
        except Stopped as stop:
            return ended_early(stop.ending)
        except asyncio.CancelledError:
            return ended_early(self._interruption.ending())
        except PackageError as error:
            return failure(error.code, error.told)
        except NodeError as error:
            told = (on_node(self.assignment), *error.told)
            if self._interruption.phase == Phase.RECOVERING:
                told = (*told, Told(_("What became of an earlier switch is not known.")))
                return unresolved(error.code, told, failed_step=self._step_recovered)
            return failure(error.code, told)
        except TransportError as error:
            what = of_node(self.assignment, error)
            code = ErrorCode(error.code)
            if self._interruption.phase in MAY_HAVE_SWITCHED:
                return unresolved(code, (what, Told(_("The switch had been sent: sync the service to see."))))
            return failure(code, (what, Told(NEXT_STEP[code])))
        except NodeMisbehaved as error:
            return self._disbelieved(error)
        except StaleFence:
            raise
        except EventRefused as refused:
            return unstorable(refused, None)
        except Exception as error:
            logger.exception("Target %d failed in an unforeseen way.", self.assignment.target_id)
            what = Told(_("%(error)s in the worker; its log has the details."), {"error": type(error).__name__})
            return failure(ErrorCode.INTERNAL_ERROR, (what,))

    @property
    def _step_recovered(self) -> Step:
        """What became of a switch is not known: that it failed at its link would say that nothing was switched."""
        return Step.RESTART if self._log.step == Step.SWITCH else self._log.step

    def _disbelieved(self, error: NodeMisbehaved) -> Outcome:
        what = Told(_("Node '%(node)s' %(what)s."), {"node": self.assignment.node.name, "what": error.told})
        logger.warning("Target %d: %s", self.assignment.target_id, what)
        if self._interruption.phase in MAY_HAVE_SWITCHED:
            now = Told(_("The switch had been sent, what runs is unknown."))
            return unresolved(ErrorCode.INTERNAL_ERROR, (what, now, Told(LIAR_ADVICE)))
        return failure(ErrorCode.INTERNAL_ERROR, (what, NOT_SWITCHED, Told(LIAR_ADVICE)))

    async def _work(self) -> Outcome:
        package = self.assignment.package
        recovers = self.assignment.was_switching and package is not None
        self._interruption.enter(Phase.RECOVERING if recovers else Phase.PREPARING)
        self._interruption.check()
        async with self._slots:
            await pause_at("claimed")
            if recovers:
                ended = await self._recover()
                if ended is not None:
                    return ended
            elif self.assignment.prior_fence is not None:
                self._log.say([self._whose_work(), Told(_("Nothing had been switched, so its work begins anew."))])
            else:
                self._log.say([story.begins(worker=this_worker(), fence=self.assignment.fence)], step=Step.QUEUED)
            return await self._steps.run(is_begun=self._broken_off is not None)

    async def _recover(self) -> Outcome | None:
        """The outcome of a dead worker's switch; None: it is for this one to do, or to do again."""
        assert self.assignment.package is not None
        if self.assignment.confirmation.has_waited:
            return await self._look_after(self.assignment.package)
        node = self.assignment.node.name
        self._log.begin(Step.RESTART if self.assignment.prior_step == Step.REVERT else self.assignment.prior_step)
        asks = Told(_("Asking the node '%(node)s' what became of its switch."), {"node": node})
        self._log.say([self._whose_work(), asks])
        match await recover(self._link, self.assignment, self.assignment.package, self._interruption):
            case Ended(outcome=outcome, switch=switch):
                says = Told(_("Node '%(node)s' says that %(what)s."), {"node": node, "what": told_of(switch)})
                self._log.say([says, Told(_("Nothing is run again."))])
                return outcome
            case BrokenOff(effect=effect, phase=phase):
                text = _(
                    "Node '%(node)s' says that the switch broke off in its middle (%(phase)s): it is done again, and the "
                    "restart command runs again."
                )
                self._log.say([Told(text, {"node": node, "phase": phase})])
                self._broken_off = effect
            case Unconfirmed():
                return await self._look_after(self.assignment.package)
            case NeverBegan():
                text = _("Node '%(node)s' says that the switch never began: the instance's work begins anew.")
                self._log.say([Told(text, {"node": node})])
        self._interruption.enter(Phase.PREPARING)
        self._interruption.check()
        return None

    async def _look_after(self, package: PinnedPackage) -> Outcome:
        self._log.begin(Step.CONFIRM)
        return await look_after(self._link, self.assignment, package, self._log, self._interruption)

    def _whose_work(self) -> Told:
        claimed = self.assignment
        return Told(
            _("Worker '%(worker)s' takes this instance over from claim %(fence)s, which ended in step '%(step)s'."),
            {"worker": this_worker(), "fence": claimed.prior_fence or 0, "step": str(claimed.prior_step)},
        )

    async def _end_command(self) -> None:
        """Of this target on the node; in a recovery it is the dead worker's."""
        self._log.say([story.ends_command()])
        is_recovering = self._interruption.phase == Phase.RECOVERING
        fence = self.assignment.prior_fence if is_recovering else None
        await self._link.end_command(fence, within_seconds=self._abort_seconds)

    async def _refused_as_stale(self, stale: StaleFence) -> Outcome | Ending:
        """Another worker is at it; or the database is younger than the node's record, and gives out higher tokens now.

        A node that names what was never given out, or says so again and again, is not followed.
        """
        claimed = self.assignment
        facts: Facts = {
            "node": claimed.node.name, "newest": stale.newest, "root": claimed.deploy_root, "claims": claimed.claims
        }  # fmt: skip
        target_id, fence = claimed.target_id, claimed.fence
        newer = await ask_database(
            lambda: _newer_claim(stale.newest, target_id=target_id, fence=fence), patience=Patience("claims")
        )
        match newer:
            case NewerClaim.NEVER_GIVEN:
                text = _(
                    "Node '%(node)s' says that a newer claim, %(newest)s, holds %(root)s: this system has never given out "
                    "so high a one."
                )
                return self._refused(Told(text, facts))
            case NewerClaim.FOLLOWED if claimed.claims >= MAX_REFUSALS:
                text = _(
                    "Node '%(node)s' says that a newer claim, %(newest)s, holds %(root)s: it has refused %(claims)s "
                    "claims, and no other worker has a newer one."
                )
                return self._refused(Told(text, facts))
            case NewerClaim.FOLLOWED:
                text = _(
                    "Node '%(node)s' says that a newer claim, %(newest)s, holds %(root)s, which this database does not "
                    "know: going on above it."
                )
                self._log.say([Told(text, facts)])
        return Ending.CLAIM_LOST

    def _refused(self, what: Told) -> Outcome:
        if self._interruption.phase in MAY_HAVE_SWITCHED:
            now = Told(_("What runs there is not known."))
            return unresolved(ErrorCode.INTERNAL_ERROR, (what, now, FENCE_ADVICE))
        return failure(ErrorCode.INTERNAL_ERROR, (what, NOT_SWITCHED, FENCE_ADVICE))


class NewerClaim(Enum):
    """What there is to a newer claim that a node names: another worker's, one to go on above, or none of this system's."""

    ANOTHERS = auto()
    FOLLOWED = auto()
    NEVER_GIVEN = auto()


def _newer_claim(newest: int, *, target_id: int, fence: int) -> NewerClaim:
    if not leases.is_held(target_id, fence):
        return NewerClaim.ANOTHERS
    return NewerClaim.FOLLOWED if leases.rise_above(newest) else NewerClaim.NEVER_GIVEN
