"""Ask a node what became of a switch whose answer nobody heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from deploys.node.session import NodeSession, NodeTruth, Switch
from deploys.worker.assignment import Assignment, PinnedPackage
from inventory.instances.facts import Effect
from inventory.models import RunStatus
from inventory.nodes.transports.base import TransportError

POLL_SECONDS = 0.3
# Beyond the two restarts that a switch may run: time for the link, the clean-up and the node's own slowness.
SPARE_SECONDS = 60

OpenSession = Callable[[], Awaitable[NodeSession]]


async def switched_from(open_session: OpenSession, assignment: Assignment, package: PinnedPackage) -> Switch | None:
    """What this claim's own switch came to; None: it never began, or died half-way and may be sent again."""
    last = await settled(open_session, assignment)
    if last is None or last.fence != assignment.fence:
        return None
    return _if_done(last, package)


def ended_before(last: Switch | None, assignment: Assignment, package: PinnedPackage) -> Switch | None:
    """What a dead worker's switch for this very target came to; None: it has to be done still.

    Several workers may have died one after the other, so it need not be the last claim's: any since others' work.
    """
    prior = assignment.prior_fence or 0
    if last is None or not assignment.fence_of_others < last.fence <= prior:
        return None
    return _if_done(last, package)


def half_switched(truth: NodeTruth, assignment: Assignment, package: PinnedPackage) -> Effect | None:
    """What holds for the instance if a dead worker's switch broke off on the node itself; None: nothing had changed."""
    last = truth.last
    if last is None or not assignment.fence_of_others < last.fence <= (assignment.prior_fence or 0):
        return None
    is_begun = last.phase in ("switched", "reverting") or (last.phase == "switching" and truth.current == last.release)
    if not is_begun or last.release != package.release:
        return None
    if not truth.current:
        return Effect(run_status=RunStatus.UNKNOWN)
    return Effect(version=truth.version, release=truth.current, sha256=truth.sha256, run_status=RunStatus.UNKNOWN)


async def settled(open_session: OpenSession, assignment: Assignment) -> Switch | None:
    """The node's newest switch, once its program has ended; it finishes by itself when its connection is gone.

    Raises TransportError when the node can't be asked for as long as its commands may take.
    """
    deadline = time.monotonic() + 2 * assignment.service.command_timeout_seconds + SPARE_SECONDS
    while True:
        try:
            truth = await (await open_session()).truth()
        except TransportError:
            if time.monotonic() > deadline:
                raise
        else:
            if truth.last is None or not truth.last.is_alive or time.monotonic() > deadline:
                return truth.last
        await asyncio.sleep(POLL_SECONDS)


def _if_done(last: Switch, package: PinnedPackage) -> Switch | None:
    return last if last.phase == "done" and last.release == package.release else None
