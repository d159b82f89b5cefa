"""Group commit: everything that a work loop has to write goes through one writer, in order.

While one transaction is being committed, the next one's events gather; so a busy work loop writes many at once,
and an idle one writes at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from deploys.models import LogLine
from deploys.operations.locks import lock_instances, lock_operations
from deploys.operations.sql import is_on_node
from deploys.operations.transitions import Move, apply_moves
from deploys.queue.lazy_commit import lazy_commit
from deploys.states import Step
from deploys.worker.switch_permits import Lost, Permit, SwitchRequest, write_permits
from inventory.database.outage import Patience
from inventory.security.redaction import scrub

logger = logging.getLogger(__name__)

# One thread, so that its connection stays open from one work loop to the next.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="group-commit")

_EVENTS_A_TRANSACTION = 5_000


@dataclass(frozen=True, kw_only=True)
class Line:
    operation_id: int
    instance_id: int | None
    step: str
    stream: str
    text: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class StepChange:
    """seconds: how long each finished step took so far."""

    target_id: int
    fence: int
    step: Step
    seconds: dict[str, float]


@dataclass
class _Batch:
    lines: list[Line] = field(default_factory=list)
    steps: list[StepChange] = field(default_factory=list)
    moves: list[tuple[Move, asyncio.Future[bool]]] = field(default_factory=list)
    permits: list[tuple[SwitchRequest, asyncio.Future[Permit]]] = field(default_factory=list)

    @property
    def is_progress_alone(self) -> bool:
        """Nothing but which step is in progress, which the next batch says again."""
        return not (self.lines or self.moves or self.permits)

    def __len__(self) -> int:
        return len(self.lines) + len(self.steps) + len(self.moves) + len(self.permits)


class GroupCommitWriter:
    """Belongs to one event loop. `start` it, and `close` it: that waits until everything is written."""

    def __init__(self) -> None:
        self._batch = _Batch()
        self._has_work = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None
        self._patience = Patience("group commit")

    def start(self) -> None:
        self._task = asyncio.create_task(self._write_for_ever())

    async def close(self) -> None:
        self._is_closing = True
        self._has_work.set()
        if self._task is not None:
            await self._task

    def line(
        self, *, operation_id: int, text: str, instance_id: int | None = None, step: str = "", stream: str = "system"
    ) -> None:
        self._batch.lines.append(
            Line(
                operation_id=operation_id,
                instance_id=instance_id,
                step=step,
                stream=stream,
                text=scrub(text).replace("\x00", ""),
                at=datetime.now(UTC),
            )
        )
        self._has_work.set()

    def step(self, change: StepChange) -> None:
        self._batch.steps.append(change)
        self._has_work.set()

    async def move(self, move: Move) -> bool:
        """Returns, once it is committed, whether the target moved; False: this claim no longer holds it."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._batch.moves.append((move, done))
        self._has_work.set()
        return await done

    async def permit_switch(self, request: SwitchRequest) -> Permit:
        """Commit the step `switch`, unless the target is to stop. Granted, nothing may stop it before its restart."""
        done: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._batch.permits.append((request, done))
        self._has_work.set()
        return await done

    async def _write_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            batch, self._batch = self._batch, _Batch()
            if len(batch):
                try:
                    moved, permits = await loop.run_in_executor(_thread, self._write_until_it_works, batch)
                except Exception as error:
                    logger.exception("%d events could not be written; their targets are reassigned.", len(batch))
                    _refuse(batch, error)
                else:
                    _answer(batch, moved, permits)
            elif self._is_closing:
                return
            if self._is_closing:
                self._has_work.set()

    def _write_until_it_works(self, batch: _Batch) -> tuple[set[int], dict[int, Permit]]:
        """An outage must not turn good work into failures: keep the events and try again."""
        return self._patience.insist(lambda: _write(batch))


def _answer(batch: _Batch, moved: set[int], permits: dict[int, Permit]) -> None:
    for move, has_moved in batch.moves:
        if not has_moved.done():
            has_moved.set_result(move.target_id in moved)
    for request, permit in batch.permits:
        if not permit.done():
            permit.set_result(permits.get(request.target_id, Lost()))


def _refuse(batch: _Batch, error: Exception) -> None:
    """Raise it for everyone who waits: a batch that can't be written must not hold up the work loop for ever."""
    waiting: list[asyncio.Future[Any]] = [*(done for _, done in batch.moves), *(done for _, done in batch.permits)]
    for done in waiting:
        if not done.done():
            done.set_exception(error)


def _write(batch: _Batch) -> tuple[set[int], dict[int, Permit]]:
    with lazy_commit() if batch.is_progress_alone else transaction.atomic():
        _lock_in_order(batch)
        _write_steps(batch.steps)
        permits = write_permits([request for request, _ in batch.permits])
        _write_lines(batch.lines)
        return apply_moves([move for move, _ in batch.moves]), permits


def _lock_in_order(batch: _Batch) -> None:
    instances = {move.instance_id for move, _ in batch.moves}
    operations = {line.operation_id for line in batch.lines} | {move.operation_id for move, _ in batch.moves}
    if instances:
        lock_instances(instances)
    if operations:
        lock_operations(operations)


_STEPS = f"""
UPDATE deploys_target t SET step = v.step, step_seconds = v.seconds, updated_at = clock_timestamp(),
    begun_fence = CASE WHEN {is_on_node("v.step")} THEN v.fence ELSE t.begun_fence END
FROM jsonb_to_recordset(%s::jsonb) AS v(id bigint, fence bigint, step text, seconds jsonb)
WHERE t.id = v.id AND t.fence = v.fence AND t.status = 'in_progress'
"""  # noqa: S608 - only constants are spliced in


def _write_steps(steps: Sequence[StepChange]) -> None:
    latest = {change.target_id: change for change in steps}
    if not latest:
        return
    records = [
        {"id": change.target_id, "fence": change.fence, "step": change.step, "seconds": change.seconds}
        for change in latest.values()
    ]
    with connection.cursor() as cursor:
        cursor.execute(_STEPS, [json.dumps(records)])


def _write_lines(lines: Sequence[Line]) -> None:
    by_operation: dict[int, list[Line]] = {}
    for line in lines:
        by_operation.setdefault(line.operation_id, []).append(line)
    for operation_id, theirs in sorted(by_operation.items()):
        LogLine.objects.bulk_create(_numbered(operation_id, theirs), batch_size=_EVENTS_A_TRANSACTION)


def _numbered(operation_id: int, lines: Sequence[Line]) -> list[LogLine]:
    """Numbers come from the operation's row, which stays locked until the commit: readers see them in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deploys_operation SET log_seq = log_seq + %s, updated_at = clock_timestamp()"
            " WHERE id = %s RETURNING log_seq",
            [len(lines), operation_id],
        )
        row: Any = cursor.fetchone()
    first = row[0] - len(lines) + 1
    return [
        LogLine(
            operation_id=operation_id,
            seq=seq,
            instance_id=line.instance_id,
            at=line.at,
            step=line.step,
            stream=line.stream,
            text=line.text,
        )
        for seq, line in enumerate(lines, start=first)
    ]
