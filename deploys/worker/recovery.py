"""Ask a node what became of a switch whose answer nobody heard: this claim's own, or that of a worker that died."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from deploys.error_codes import ErrorCode
from deploys.node.session import NodeSession, NodeState, Staged, Switch
from deploys.told import Facts, Told
from deploys.told import marked as _
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.interruption import Interruption
from deploys.worker.node_link import NodeLink
from deploys.worker.outcomes import Outcome, before_told, switch_ended
from inventory.instances.facts import Effect
from inventory.models import RunStatus
from inventory.nodes.transports.base import TransportError

POLL_SECONDS = 0.3
# Beyond the commands that a switch may run: time for the link, the clean-up and the node's own slowness.
SPARE_SECONDS = 60
CLAIM_SECONDS = 120


@dataclass(frozen=True)
class Ended:
    """The dead worker's switch came to its end on the node."""

    outcome: Outcome
    switch: Switch


@dataclass(frozen=True)
class NeverBegan:
    """Nothing had changed on the node: the target's work is done from its beginning."""


@dataclass(frozen=True)
class BrokenOff:
    """The switch broke off in its middle on the node itself; until it is done anew, `effect` holds for the instance."""

    effect: Effect
    phase: str


@dataclass(frozen=True)
class Unconfirmed:
    """The switch waits on the node to be confirmed, or has broken off there while it did."""


Recovered = Ended | NeverBegan | BrokenOff | Unconfirmed


async def recover(
    link: NodeLink, assignment: Assignment, package: PinnedPackage, interruption: Interruption
) -> Recovered:
    """How far a dead worker's switch of this target came; its root is ours from here on.

    Raises TransportError, NodeMisbehaved, NodeError, and StaleFence when yet another worker has claimed the root.
    """
    settled = await _settled(link, assignment)
    if settled is not None and settled.is_unconfirmed and is_this_targets(settled, assignment, package):
        return Unconfirmed()
    claimed = await link.try_again(lambda session: claim_root(session, assignment, package))
    last = claimed.state.last
    if last is None or not is_this_targets(last, assignment, package):
        return NeverBegan()
    if last.phase == "done":
        return Ended(switch_ended(assignment, package, last, was_aborted=interruption.was_aborted), last)
    return BrokenOff(_effect(claimed.state), last.phase) if _has_changed_node(last, claimed.state) else NeverBegan()


def told_of(switch: Switch) -> Told:
    """What a switch that has ended came to, to go on after "the node says that"."""
    facts: Facts = {"release": switch.release}
    if switch.outcome == "switched":
        return Told(_("the switch to '%(release)s' was finished"), facts)
    if switch.outcome not in ("restart_failed", ErrorCode.VERSION_MISMATCH):
        return Told(_("the switch to '%(release)s' failed before its restart"), facts)
    back = Told(_("that there was no way back"))
    if switch.reverted:
        back = Told(_("that it went back to %(before)s"), {"before": before_told(switch)})
    if switch.is_mismatch:
        text = _("the version command of '%(release)s' did not print that version, and %(back)s")
    elif switch.was_stopped:
        text = _("the restart command of '%(release)s' was stopped, and %(back)s")
    elif switch.timed_out:
        text = _("the restart command of '%(release)s' was out of time, and %(back)s")
    else:
        text = _("the restart command of '%(release)s' ended with exit status %(status)s, and %(back)s")
    return Told(text, {**facts, "back": back, "status": str(switch.restart_exit)})


async def own_switch(link: NodeLink, assignment: Assignment, package: PinnedPackage) -> Switch | None:
    """What this claim's own switch came to; None: it never began, or died half-way and may be sent again."""
    last = await _settled(link, assignment)
    is_ours = last is not None and last.fence == assignment.fence and last.release == package.release
    return last if last is not None and is_ours and (last.phase == "done" or last.is_waiting) else None


async def _settled(link: NodeLink, assignment: Assignment) -> Switch | None:
    """The node's newest switch, once its program has ended; it finishes by itself when its connection is gone.

    Raises TransportError when the node can't be asked for as long as its commands may take.
    """
    rules = assignment.service
    most_seconds = 2 * rules.command_timeout_seconds + rules.version_timeout_seconds
    deadline = time.monotonic() + most_seconds + SPARE_SECONDS
    while True:
        try:
            state = await (await link.open()).state()
        except TransportError:
            if time.monotonic() > deadline:
                raise
        else:
            if state.last is None or not _is_in_progress(state.last) or time.monotonic() > deadline:
                return state.last
        await asyncio.sleep(POLL_SECONDS)


def _is_in_progress(switch: Switch) -> bool:
    """Of its own accord it ends soon; a switch that waits to be confirmed does not."""
    return switch.is_alive and not switch.is_waiting


async def claim_root(session: NodeSession, assignment: Assignment, package: PinnedPackage) -> Staged:
    """Only claim, and see whether the release is there: from here on a worker that was paused can not switch any more."""
    return await session.stage(
        release=package.release,
        version=assignment.version,
        sha256=package.sha256,
        operation=assignment.public_id,
        artifact_path=None,
        timeout_seconds=CLAIM_SECONDS,
    )


def is_this_targets(last: Switch, assignment: Assignment, package: PinnedPackage) -> bool:
    """Several workers may have died one after the other: it need not be the last claim's, but any since others' work.

    This claim's own, too: it may have concluded a switch that was to be confirmed.
    """
    is_since_others = assignment.fence_of_others < last.fence <= assignment.fence
    return is_since_others and last.release == package.release


def _has_changed_node(last: Switch, state: NodeState) -> bool:
    return last.phase in ("switched", "reverting") or (last.phase == "switching" and state.current == last.release)


def _effect(state: NodeState) -> Effect:
    if not state.current:
        return Effect(run_status=RunStatus.UNKNOWN, process="")
    return Effect(
        version=state.version, release=state.current, sha256=state.sha256, process="", run_status=RunStatus.UNKNOWN
    )
