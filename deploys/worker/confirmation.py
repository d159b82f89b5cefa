"""Look after a target whose node waits for a confirmation: keep its switch, take it back, or let it wait on.

No worker waits with it: the node goes back by itself. A worker comes when it was confirmed or cancelled, when its time is
over, or when a sync asks; and tells what is so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from deploys.error_codes import ErrorCode
from deploys.node import calls
from deploys.node.session import NodeSession, NodeState, Switch
from deploys.operations.transitions import Wait
from deploys.states import Step, TargetStatus
from deploys.told import Told
from deploys.told import marked as _
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.interruption import Interruption, Request
from deploys.worker.node_link import NodeLink
from deploys.worker.outcomes import Outcome, of_node, switch_ended, unresolved
from deploys.worker.recovery import is_this_targets
from deploys.worker.target_log import TargetLog
from inventory.nodes.transports.base import TransportError

# A node that can't be asked is asked again after so long, and given up so long after its time was over.
SHORTEST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 15.0
GIVE_UP_SECONDS = 600.0
# Of a cancel, which ends within a minute: what the restart of the way back gets.
CANCELLED_RESTART_SECONDS = 20


async def look_after(
    link: NodeLink, assignment: Assignment, package: PinnedPackage, log: TargetLog, interruption: Interruption
) -> Outcome:
    """What became of it. An outcome that is in progress still: it waits on, or its node can't be asked.

    Raises NodeMisbehaved, NodeError, StaleFence.
    """
    while True:
        try:
            return await _ask(await link.open(), assignment, package, log, interruption)
        except TransportError as error:
            if Request.CANCEL not in interruption.asked:
                return _asked_later(assignment, log, error)
        await asyncio.sleep(SHORTEST_PAUSE_SECONDS)


async def conclude(
    session: NodeSession, assignment: Assignment, decision: str, *, keep: Sequence[str] = ()
) -> NodeState:
    """End the waiting of the newest switch on the node's record, whosever it is. decision: of `deploys.node.calls`.

    keep: the releases that the clean-up after a confirmed one spares.
    """
    service = assignment.service
    seconds = service.command_timeout_seconds
    if decision == calls.TAKEN_BACK:
        seconds = min(seconds, CANCELLED_RESTART_SECONDS)
    return await session.conclude(
        decision=decision,
        operation=assignment.public_id,
        restart_command=service.restart_command,
        timeout_seconds=seconds,
        keep=keep,
    )


async def _ask(
    session: NodeSession, assignment: Assignment, package: PinnedPackage, log: TargetLog, interruption: Interruption
) -> Outcome:
    last = (await session.state()).last
    decision = _decision(assignment, last, interruption.asked)
    if decision is None and last is not None:
        return switch_ended(assignment, package, last, was_aborted=False)
    log.say([Told(_TOLD[decision or calls.NOT_CONFIRMED])])
    keep = assignment.releases_kept(package)
    ended = (await conclude(session, assignment, decision or calls.NOT_CONFIRMED, keep=keep)).last
    if ended is None or not is_this_targets(ended, assignment, package):
        text = _(
            "Node '%(node)s' has no record of this switch in %(root)s any more: sync the service to see what runs."
        )
        facts = {"node": assignment.node.name, "root": assignment.deploy_root}
        return unresolved(ErrorCode.NOT_CONFIRMED, (Told(text, facts),))
    for warning in ended.warnings:
        log.say([Told(_("Warning: %(said)s"), {"said": warning})])
    return switch_ended(assignment, package, ended, was_aborted=False)


_TOLD = {
    calls.CONFIRMED: _("It was confirmed: telling the node to keep it."),
    calls.TAKEN_BACK: _("It is cancelled: the node is to go back now."),
    calls.NOT_CONFIRMED: _("It was not confirmed: seeing that the node has gone back."),
}


def _decision(assignment: Assignment, last: Switch | None, asked: Collection[Request]) -> str | None:
    """None while it is to wait on. What a rollback is to follow goes back first."""
    if Request.CANCEL in asked:
        return calls.TAKEN_BACK
    if assignment.confirmation.is_given:
        return calls.CONFIRMED
    may_wait = last is not None and last.is_waiting and last.seconds_left > 0 and Request.SUPERSEDE not in asked
    return None if may_wait else calls.NOT_CONFIRMED


def _asked_later(assignment: Assignment, log: TargetLog, error: TransportError) -> Outcome:
    confirmation = assignment.confirmation
    what = of_node(assignment, error)
    if confirmation.overdue_seconds > GIVE_UP_SECONDS:
        given = _("It was not confirmed.")
        if confirmation.is_given:
            given = _("It was confirmed, but the node could not be told.")
        now = _("By its own clock the node has gone back; sync the service when it is there again.")
        return unresolved(ErrorCode.NOT_CONFIRMED, (what, Told(given), Told(now)))
    log.say([what, Told(_("It reverts by itself if it is not confirmed in time. Asking again."))])
    pause = min(max(confirmation.overdue_seconds / 4, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
    return Outcome(
        status=TargetStatus.IN_PROGRESS, last_step=Step.CONFIRM, wait=Wait(seconds=None, ask_in_seconds=pause)
    )
