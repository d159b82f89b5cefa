"""The work loop: claim whatever its queue has to do, work on many nodes at once, end when nothing is left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from django.conf import settings

from deploys.models import Lease
from deploys.operations.database_trouble import tell_if_short
from deploys.queue import draining, worker_name
from deploys.queue.names import QUEUE_OF
from deploys.queue.notifications import Wakeups
from deploys.states import Kind
from deploys.told import Told
from deploys.worker import event_loop, leases, prewarm
from deploys.worker.assignment import Assignment
from deploys.worker.claim_failures import ClaimFailures, end_broken
from deploys.worker.claim_limits import MAX_REFUSALS
from deploys.worker.claim_pace import ClaimPace
from deploys.worker.claims import claim, let_go, stop_requests
from deploys.worker.fair_share import Slots
from deploys.worker.group_commit import GroupCommitWriter
from deploys.worker.heartbeat import Heartbeat
from deploys.worker.interruption import DEADLINES, Deadlines, Request
from deploys.worker.node_work import NodeWork
from deploys.worker.package_fetch import PackageFetch
from deploys.worker.pools import ENDING, in_pool
from deploys.worker.target_run import TargetRun
from inventory.database.outage import Patience, is_outage

logger = logging.getLogger(__name__)

T = TypeVar("T")

TICK_SECONDS = 0.5
MORE_WORK_TICK_SECONDS = 0.15
SMALLEST_SHARE = 8
HUNG_SECONDS = 30

# One thread, so that its database connection stays open from one run to the next.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="work-loop")


def run(queue: str, *, deadlines: Deadlines = DEADLINES) -> None:
    """Work until nothing of this queue is left to claim, or the worker is to stop."""
    if draining.is_draining():
        return
    kind = next(kind for kind, name in QUEUE_OF.items() if name == queue)
    event_loop.run(_run(kind, deadlines))


async def _run(kind: Kind, deadlines: Deadlines) -> None:
    """An error that keeps it from working at all ends what waits for it, as one of a claim does."""
    failures = ClaimFailures(kind=kind, lease_id=0)
    while not draining.is_draining():
        try:
            return await WorkLoop(kind, deadlines).run()
        except Exception as error:
            if draining.is_draining():
                raise
            await _in_thread(partial(failures.add, error))
        if not failures.is_retrying:
            return None
        await asyncio.sleep(max(0.0, failures.seconds_left))
    return None


class WorkLoop:
    def __init__(self, kind: Kind, deadlines: Deadlines) -> None:
        self._kind = kind
        self._deadlines = deadlines
        self._writer = GroupCommitWriter()
        self._pool = event_loop.connection_pool()
        self._wake = asyncio.Event()
        self._nodes: set[asyncio.Task[None]] = set()
        self._slots = Slots(most=settings.CONCURRENCY)
        self._runs: dict[int, TargetRun] = {}
        self._fetches: dict[int, PackageFetch] = {}
        self._node_pks: list[int] = []
        self._begun: set[int] = set()
        self._lease_id = 0
        self._may_be_more = True
        self._looks_for_stops_at = 0.0
        self._is_claim_unclear = False
        self._claim_pace = ClaimPace()
        self._is_draining = False
        self._ticked_at = time.monotonic()
        self._patience = Patience(f"work loop {kind}")
        # Its own: a database that is read-only answers this while it refuses the rest.
        self._looking = Patience(f"requests to stop {kind}")
        self._failures = ClaimFailures(kind=kind, lease_id=0)

    async def run(self) -> None:
        lease = await _in_thread(self._create_lease)
        self._lease_id = lease.pk
        self._failures = ClaimFailures(kind=self._kind, lease_id=lease.pk)
        heartbeat = Heartbeat(lease.pk, is_sound=self._is_sound)
        heartbeat.start()
        ticking = asyncio.create_task(self._tick())
        wakeups = Wakeups(QUEUE_OF[self._kind], self._wake)
        wakeups.start()
        self._writer.start()
        try:
            await self._work(heartbeat)
            if self._kind == Kind.DEPLOY and not self._is_draining:
                await _in_thread(lambda: prewarm.announce(self._node_pks))
        finally:
            await self._writer.close()
            wakeups.stop()
            ticking.cancel()
            await in_pool(ENDING, heartbeat.stop)
            await self._try(partial(_end_lease, lease))

    def _create_lease(self) -> Lease:
        lease = self._patience.insist(
            lambda: leases.create_lease(worker_name.this_worker(), QUEUE_OF[self._kind]), gives_up=draining.is_draining
        )
        self._patience.attempt(lambda: tell_if_short(worker_name.this_worker()))
        return lease

    async def _tick(self) -> None:
        while True:
            self._ticked_at = time.monotonic()
            await asyncio.sleep(1)

    def _is_sound(self) -> bool:
        return time.monotonic() - self._ticked_at < HUNG_SECONDS

    async def _work(self, heartbeat: Heartbeat) -> None:
        while True:
            had_nodes = bool(self._nodes)
            self._drain_if_asked()
            may_claim = not self._is_draining and not heartbeat.lost and heartbeat.is_timely
            if may_claim:
                await self._claim()
            await self._pass_on_stops()
            # What the last node left, if it ended in the midst of these queries, is not claimed by them: once more.
            if not self._nodes and not had_nodes and not (may_claim and self._failures.is_retrying):
                return
            await self._wait()

    def _drain_if_asked(self) -> None:
        if self._is_draining or not draining.is_draining():
            return
        logger.info("Stopping: switches in progress are finished, the rest is requeued.")
        self._is_draining = True
        for target_run in self._runs.values():
            target_run.ask(Request.REQUEUE)

    async def _claim(self) -> None:
        """Take a share of what is there, so that the host's other workers get theirs; the rest at the next tick."""
        share = min(self._slots.free, max(SMALLEST_SHARE, settings.CONCURRENCY // settings.WORKERS))
        if share <= 0 or not self._may_be_more or not self._failures.is_due:
            return
        if self._is_claim_unclear:
            mine = tuple(self._runs)
            self._is_claim_unclear = False  # before it: what breaks off meanwhile is among `mine`
            if await self._try(lambda: let_go(self._lease_id, except_targets=mine)) is None:
                self._is_claim_unclear = True
        began = time.monotonic()
        groups = await self._claim_groups(share)
        self._claim_pace.took(time.monotonic() - began, nodes=len(groups or ()))
        self._is_claim_unclear = self._is_claim_unclear or groups is None
        self._may_be_more = bool(groups) or self._failures.is_retrying
        for assignments in groups or ():
            self._begin(assignments)

    def _begin(self, assignments: Sequence[Assignment]) -> None:
        self._log_begun(assignments[0])
        service = assignments[0].service.pk
        task = asyncio.create_task(self._work_on_node(assignments))
        self._nodes.add(task)
        self._slots.take(service)

        def end(task: asyncio.Task[None]) -> None:
            self._nodes.discard(task)
            self._slots.give_back(service)

        task.add_done_callback(end)

    def _log_begun(self, first: Assignment) -> None:
        """Once an operation."""
        if first.operation_id in self._begun:
            return
        self._begun.add(first.operation_id)
        facts = {
            "operation": first.operation_name,
            "service": first.service.name,
            "version": first.version,
            "requested_by": first.actor.name,
            "instances": first.operation_total,
            "attempt": first.attempt,
        }
        logger.info("operation begun here", extra=facts)

    async def _claim_groups(self, share: int) -> list[list[Assignment]] | None:
        """None in an outage, and after an error: what was claimed then is not known."""
        warm = self._pool.warm_nodes()
        call = partial(
            claim,
            kind=self._kind,
            lease_id=self._lease_id,
            max_nodes=share,
            warm_nodes=warm,
            slots=self._slots,
        )
        try:
            groups = await _in_thread(lambda: self._patience.attempt(call))
        except Exception as error:
            await _in_thread(partial(self._failures.add, error))
            return None
        if groups is not None:
            self._failures.clear()
        return groups

    async def _work_on_node(self, assignments: Sequence[Assignment]) -> None:
        operation_id = assignments[0].operation_id
        fetch = self._fetches.setdefault(operation_id, PackageFetch(operation_id, self._say_from_thread(operation_id)))
        node_work = NodeWork(assignments, self._pool, fetch)
        runs = {each.target_id: self._target_run(each, node_work) for each in assignments}
        self._runs.update(runs)
        self._node_pks.append(assignments[0].node_pk)
        is_left = False
        try:
            ended = await asyncio.gather(*(each.run() for each in runs.values()), return_exceptions=True)
            for assignment, end in zip(assignments, ended, strict=True):
                if isinstance(end, BaseException):
                    await self._broke_off(assignment, end)
                is_left = is_left or end is not True
            await node_work.clean_up()
        finally:
            for target_id in runs:
                del self._runs[target_id]
            if is_left:  # said only now: what is among the runs is not let go
                self._is_claim_unclear = self._may_be_more = True
            self._stop_fetch_if_last(operation_id)

    async def _broke_off(self, assignment: Assignment, error: BaseException) -> None:
        """By an error of ours, or an outage. It is let go, and claimed again; but not for ever."""
        logger.error("Work on node '%s' broke off.", assignment.node.name, exc_info=error)
        if assignment.claims >= MAX_REFUSALS and not is_outage(error):
            await self._try(partial(end_broken, assignment, error))

    def _target_run(self, assignment: Assignment, node_work: NodeWork) -> TargetRun:
        return TargetRun(assignment, node_work, self._writer, deadlines=self._deadlines)

    def _stop_fetch_if_last(self, operation_id: int) -> None:
        if not any(run.assignment.operation_id == operation_id for run in self._runs.values()):
            fetch = self._fetches.pop(operation_id, None)
            if fetch is not None:
                fetch.stop()

    def _say_from_thread(self, operation_id: int) -> Callable[[Told], None]:
        loop = asyncio.get_running_loop()

        def say(told: Told) -> None:
            loop.call_soon_threadsafe(lambda: self._writer.line(operation_id=operation_id, text=[told], step="fetch"))

        return say

    async def _pass_on_stops(self) -> None:
        """A request to stop is notified; without a notification it is looked for now and then."""
        target_ids = tuple(self._runs)
        if not target_ids or time.monotonic() < self._looks_for_stops_at:
            return
        self._looks_for_stops_at = time.monotonic() + TICK_SECONDS
        asked = await self._try(lambda: stop_requests(target_ids), patience=self._looking)
        for target_id, stop in (asked or {}).items():
            if target_id in self._runs:
                self._runs[target_id].ask(Request(stop.reason.value), by=stop.by)

    async def _wait(self) -> None:
        """Until a notification, a node's end, or the next look."""
        wake = asyncio.create_task(self._wake.wait())
        tick = MORE_WORK_TICK_SECONDS if self._may_be_more else TICK_SECONDS
        ended, _ = await asyncio.wait({wake, *self._nodes}, timeout=tick, return_when=asyncio.FIRST_COMPLETED)
        if self._nodes and ended and not wake.done():
            await asyncio.wait({wake}, timeout=self._claim_pace.pause_seconds)
        is_woken = wake.done()
        wake.cancel()
        self._wake.clear()
        if is_woken:
            self._looks_for_stops_at = 0.0
        # With its last node done it looks once more: a target may have been requeued meanwhile.
        is_left = self._slots.has_left_some or not self._nodes
        self._may_be_more = self._may_be_more or is_woken or not ended or is_left

    async def _try(self, call: Callable[[], T], *, patience: Patience | None = None) -> T | None:
        """None in an outage, which only ever delays, and after an error, which must not end the work on other targets."""
        try:
            return await _in_thread(lambda: (patience or self._patience).attempt(call))
        except Exception:
            logger.exception("A query of the work loop failed.")
            return None


async def _in_thread(call: Callable[[], T]) -> T:
    """Call it in the database thread."""
    return await asyncio.get_running_loop().run_in_executor(_thread, call)


def _end_lease(lease: Lease) -> None:
    """A loop that is shorter than a heartbeat's pause tells of what it met here."""
    lease.delete()
    tell_if_short(worker_name.this_worker())
