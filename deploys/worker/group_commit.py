"""Group commit: everything that a work loop has to write goes through one writer, in order.

While one transaction is being committed, the next one's events gather; so a busy work loop writes many at once,
and an idle one writes at once. No transaction grows without bound: log lines take turns for what room there is, and nothing
else waits for another target's lines. A target's own are committed before its end or with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from deploys.operations.locks import lock_instances, lock_operations
from deploys.operations.sql import is_on_node
from deploys.operations.transitions import Move, apply_moves_locked
from deploys.queue.lazy_commit import lazy_commit
from deploys.told import Telling, stored
from deploys.worker.backlog import Backlog
from deploys.worker.batch import Batch, Line, MoveRequest, PermitRequest, StepChange
from deploys.worker.log_lines import write_lines
from deploys.worker.log_share import LogSize
from deploys.worker.refusals import EventRefused, Written, write_in_parts
from deploys.worker.switch_permits import Lost, Permit, SwitchRequest, write_permits
from inventory.database.outage import Patience
from inventory.nodes.transports.flow import Flow

logger = logging.getLogger(__name__)

# One thread, so that its connection stays open from one work loop to the next.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="group-commit")

# How long lines and steps gather while nobody waits for an answer: a quick switch ends meanwhile, and its end takes them along.
GATHER_SECONDS = 0.03
# Of one transaction, which is to take well below a second: whoever ends or wants a permit meanwhile waits for it.
MOST_LINES = 1_000
FEWEST_LINES = 50
MOST_BYTES = 4 * 1024 * 1024
MOST_MOVES = 500
LONG_SECONDS = 0.4
SHORT_SECONDS = 0.15
# So often in a row an outage is taken for one before the same is tried in parts: the server may end a session for what
# it is made to do in it.
TRIES_AS_A_WHOLE = 5


class GroupCommitWriter:
    """Belongs to one event loop. `start` it, and `close` it: that waits until everything is written."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._steps: list[StepChange] = []
        self._permits: list[PermitRequest] = []
        self._moves: list[MoveRequest] = []
        self._refused: dict[int, EventRefused] = {}
        self._log_sizes: dict[int, LogSize] = {}
        self._most_lines = MOST_LINES
        self._has_work = asyncio.Event()
        self._is_awaited = asyncio.Event()
        self._is_closing = False
        self._has_put_off_lines = False
        self._task: asyncio.Task[None] | None = None
        self._patience = Patience("group commit")
        self._seconds = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._write_for_ever())

    async def close(self) -> None:
        self._is_closing = True
        self._has_work.set()
        self._is_awaited.set()
        if self._task is not None:
            await self._task

    def line(
        self,
        *,
        operation_id: int,
        text: str | Telling,
        target_id: int | None = None,
        instance_id: int | None = None,
        step: str = "",
        stream: str = "system",
        flow: Flow | None = None,
    ) -> None:
        """flow: of the program that printed it."""
        english, told = stored(text)
        line = Line(
            operation_id=operation_id,
            target_id=target_id,
            instance_id=instance_id,
            step=step,
            stream=stream,
            text=english,
            told=told,
            at=datetime.now(UTC),
        )
        self.log_size(operation_id).add(line.text)
        self._backlog.add(line, flow)
        self._has_work.set()

    def log_size(self, operation_id: int) -> LogSize:
        """It stays true."""
        return self._log_sizes.setdefault(operation_id, LogSize())

    def step(self, change: StepChange) -> None:
        self._steps.append(change)
        self._has_work.set()

    async def move(self, move: Move, *, last_step: StepChange) -> bool:
        """Returns, once it is committed, whether the target moved; False: this claim no longer holds it.

        Raises EventRefused, once for each refusal: then it has not moved, and may be moved otherwise.
        """
        request = MoveRequest(move=move, last_step=last_step)
        self._moves.append(request)
        self._has_work.set()
        self._is_awaited.set()
        return await request.answer

    async def permit_switch(self, request: SwitchRequest) -> Permit:
        """Commit the step `switch`, unless the target is to stop. Granted, nothing may stop it before its restart.

        Raises EventRefused, as `move` does.
        """
        permit = PermitRequest(request=request)
        self._permits.append(permit)
        self._has_work.set()
        self._is_awaited.set()
        return await permit.answer

    async def _write_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_work.wait()
            await self._gather()
            self._has_work.clear()
            self._is_awaited.clear()
            batch = self._next_batch()
            if batch.events:
                try:
                    written, seconds = await loop.run_in_executor(_thread, self._write_until_it_works, batch)
                except Exception as error:
                    logger.exception("%d events could not be written; their targets are reassigned.", len(batch.events))
                    _fail(batch, error)
                else:
                    self._adapt(seconds)
                    self._answer(batch, written)
                self._backlog.written(batch.of(Line))
            elif self._is_closing:
                return
            if self._is_closing or self._backlog or self._moves:
                self._has_work.set()
            is_behind = bool(self._backlog) and bool(batch.of(Line))
            if self._is_closing or self._moves or is_behind:
                self._is_awaited.set()

    async def _gather(self) -> None:
        """Not while more lines wait to be written than one transaction takes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_SECONDS):
                await self._is_awaited.wait()

    def _next_batch(self) -> Batch:
        self._refuse_who_waits()
        steps, self._steps = self._steps, []
        permits, self._permits = self._permits, []
        return Batch([*steps, *permits, *self._take_lines(has_permits=bool(permits)), *self._take_moves()])

    def _take_lines(self, *, has_permits: bool) -> Sequence[Line]:
        """A node that waits for its permit does not wait for lines, too: they come right behind, but not twice in a row."""
        self._has_put_off_lines = has_permits and not self._moves and not self._has_put_off_lines
        if self._has_put_off_lines:
            return ()
        ending = [(request.move.operation_id, request.owner) for request in self._moves]
        return self._backlog.take(lines=self._most_lines, bytes=MOST_BYTES, ending=ending)

    def _refuse_who_waits(self) -> None:
        """Something of theirs was refused before."""
        waiting = {request.owner for request in self._moves} | {request.owner for request in self._permits}
        refused = {owner: self._refused.pop(owner) for owner in waiting & self._refused.keys()}
        for move in self._moves:
            if move.owner in refused:
                _settle(move.answer, None, refused[move.owner])
        for permit in self._permits:
            if permit.owner in refused:
                _settle(permit.answer, None, refused[permit.owner])
        self._moves = [move for move in self._moves if move.owner not in refused]
        self._permits = [permit for permit in self._permits if permit.owner not in refused]

    def _take_moves(self) -> list[MoveRequest]:
        """Those whose lines are written, or in this batch."""
        ready: list[MoveRequest] = []
        later: list[MoveRequest] = []
        for request in self._moves:
            has_lines = self._backlog.has_lines_of(request.move.operation_id, request.owner)
            (later if has_lines or len(ready) >= MOST_MOVES else ready).append(request)
        self._moves = later
        return ready

    def _adapt(self, seconds: float) -> None:
        if seconds > LONG_SECONDS:
            self._most_lines = max(FEWEST_LINES, self._most_lines // 2)
        elif seconds < SHORT_SECONDS:
            self._most_lines = min(MOST_LINES, self._most_lines * 2)

    def _answer(self, batch: Batch, written: Written) -> None:
        for operation_id, (lines, size) in written.log_sizes.items():
            own = [line.text for line in batch.of(Line) if line.operation_id == operation_id]
            self.log_size(operation_id).now_stored(lines, size, own=own)
        refused = dict(written.refused)
        for move in batch.of(MoveRequest):
            _settle(move.answer, move.owner in written.moved, refused.pop(move.owner, None))
        for permit in batch.of(PermitRequest):
            _settle(permit.answer, written.permits.get(permit.owner, Lost()), refused.pop(permit.owner, None))
        self._refused |= {owner: refusal for owner, refusal in refused.items() if owner > 0}

    def _write_until_it_works(self, batch: Batch) -> tuple[Written, float]:
        """An outage must not turn good work into failures: keep the events and try again."""
        written = write_in_parts(batch, self._insist)
        return written, self._seconds

    def _insist(self, batch: Batch) -> Written:
        tries = 0

        def write() -> Written:
            nonlocal tries
            tries += 1
            began = time.monotonic()
            try:
                return _write(batch)
            finally:
                self._seconds = time.monotonic() - began

        return self._patience.insist(write, gives_up=lambda: tries >= TRIES_AS_A_WHOLE and len(batch.events) > 1)


def _settle(answer: asyncio.Future[Any], value: object, refusal: Exception | None) -> None:
    if answer.done():
        return
    if refusal is not None:
        answer.set_exception(refusal)
    else:
        answer.set_result(value)


def _fail(batch: Batch, error: Exception) -> None:
    """Raise it for everyone who waits: a batch that can't be written must not hold up the work loop for ever."""
    for move in batch.of(MoveRequest):
        _settle(move.answer, None, error)
    for permit in batch.of(PermitRequest):
        _settle(permit.answer, None, error)


def _write(batch: Batch) -> Written:
    with lazy_commit() if batch.is_progress_alone else transaction.atomic():
        moves = batch.of(MoveRequest)
        lines = batch.of(Line)
        _lock_in_order(lines, moves)
        _write_steps([*batch.of(StepChange), *(request.last_step for request in moves)])
        permits = write_permits([permit.request for permit in batch.of(PermitRequest)])
        log_sizes = write_lines(lines)
        moved = apply_moves_locked([request.move for request in moves])
    return Written(moved=moved, permits=permits, log_sizes=log_sizes)


def _lock_in_order(lines: Iterable[Line], moves: Sequence[MoveRequest]) -> None:
    instances = {request.move.instance_id for request in moves}
    operations = {line.operation_id for line in lines} | {request.move.operation_id for request in moves}
    if instances:
        lock_instances(instances)
    if operations:
        lock_operations(operations)


_STEPS = f"""
UPDATE deploys_target t SET step = v.step, step_seconds = t.step_seconds || v.seconds, updated_at = clock_timestamp(),
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
