"""The one writer of target status: guarded, in batches, with everything that follows from a move."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, Self

from django.db import connection, transaction

from deploys.error_codes import ErrorCode
from deploys.measures import TARGETS
from deploys.models import Hold, Target
from deploys.operations.finish import finalize_finished
from deploys.operations.held import holds_of_deploys, superseded_by
from deploys.operations.journal import log_failed
from deploys.operations.locks import lock_instances, lock_operations
from deploys.operations.sql import unfinished
from deploys.queue.announce import enqueue_work
from deploys.queue.names import QUEUE_OF
from deploys.states import TERMINAL, TRANSITIONS, Kind, TargetStatus
from deploys.told import Telling, stored
from inventory.actors import Actor
from inventory.instances.facts import Cause, Change, Effect, record


class MovableTarget(NamedTuple):
    """What a move has to know of its target: which it is, and where it stands."""

    target_id: int
    instance_id: int
    operation_id: int
    operation_name: str
    attempt: int
    status: TargetStatus

    @classmethod
    def of(cls, target: Target) -> Self:
        """From a row that is loaded with its operation."""
        name = str(target.operation)
        return cls(
            target.pk, target.instance_id, target.operation_id, name, target.attempt, TargetStatus(target.status)
        )


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A target's node waits to be confirmed, and no worker with it. seconds: so long still; None: that is known already.

    ask_in_seconds: when a worker looks after it, unless it is confirmed or asked to stop before.
    """

    seconds: int | None
    ask_in_seconds: float


@dataclass(frozen=True, kw_only=True)
class Move:
    """One target's change of status. `fence`: only while this claim still holds the target; None: whoever holds it.

    wait: of a target that stays in progress, which its claim lets go of. sent_bytes, full_bytes: None for what is not known.
    """

    target_id: int
    instance_id: int
    operation_id: int
    operation_name: str
    attempt: int
    old: TargetStatus
    new: TargetStatus
    actor: Actor
    fence: int | None = None
    error_code: ErrorCode | Literal[""] = ""
    told: Telling = ()
    reverted: bool | None = None
    source: str = ""
    sent_bytes: int | None = None
    full_bytes: int | None = None
    step: str = ""
    effect: Effect | None = None
    wait: Wait | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a code that is none of ours, and for a failure without one: programs and pages go by it."""
        if self.error_code or self.new == TargetStatus.FAILED:
            ErrorCode(self.error_code)

    @classmethod
    def of(cls, target: MovableTarget, *, to: TargetStatus, actor: Actor, **details: Any) -> Self:
        """The move of a target away from where it stands. details: the fields that have a default."""
        return cls(
            target_id=target.target_id,
            instance_id=target.instance_id,
            operation_id=target.operation_id,
            operation_name=target.operation_name,
            attempt=target.attempt,
            old=TargetStatus(target.status),
            new=to,
            actor=actor,
            **details,
        )


def apply_moves(moves: Sequence[Move]) -> set[int]:
    """Make these moves in one transaction; return the ids of the targets that moved.

    A target that does not stand where its move expects it (another worker's, or terminal) is left alone. One that a
    rollback has asked to stop ends as superseded, however its own switch ended, whether its worker knew it or not; but
    as its switch ended, if that rollback has been cancelled meanwhile.
    """
    if not moves:
        return set()
    with transaction.atomic(savepoint=False):
        lock_instances(move.instance_id for move in moves)
        lock_operations(move.operation_id for move in moves)
        return apply_moves_locked(moves)


def apply_moves_locked(moves: Sequence[Move]) -> set[int]:
    """The same for a caller whose transaction has locked their instances and operations."""
    if not moves:
        return set()
    for move in moves:
        if move.new not in TRANSITIONS.get(move.old, ()):
            raise ValueError(f"a target does not go from {move.old} to {move.new}")
    moves = _superseded_if_held(moves)
    moved, moved_before = _update_targets(moves)
    made = [replace(move, new=moved[move.target_id]) for move in moves if move.target_id in moved]
    record(_changes(made))
    _follow_up([move for move in made if move.new in TERMINAL])
    return moved.keys() | moved_before


def _superseded_if_held(moves: Sequence[Move]) -> list[Move]:
    """What a worker requeues while its service is held would have to begin again, and does not."""
    requeued = {move.operation_id for move in moves if move.new == TargetStatus.PENDING}
    holds = holds_of_deploys(requeued) if requeued else {}
    return [
        _superseded(move, holds[move.operation_id])
        if move.new == TargetStatus.PENDING and move.operation_id in holds
        else move
        for move in moves
    ]


def _superseded(requeued: Move, hold: Hold) -> Move:
    return replace(requeued, new=TargetStatus.SUPERSEDED, told=superseded_by(hold, has_begun=True))


def _follow_up(ended: Sequence[Move]) -> None:
    if not ended:
        return
    transaction.on_commit(partial(_count, ended), robust=True)
    finalize_finished({move.operation_id for move in ended})
    _wake_waiting_rollbacks([move.instance_id for move in ended if _kind(move) == Kind.DEPLOY])


def _kind(move: Move) -> str:
    return move.operation_name.partition(" ")[0]


def _count(ended: Sequence[Move]) -> None:
    for move in ended:
        TARGETS.add(_kind(move), move.new, move.error_code)
    log_failed([move.target_id for move in ended if move.new == TargetStatus.FAILED])


# A rollback that goes before a deploy can start once the deploy's target has let go of the instance. None waits for a rollback.
_WAITING = """
SELECT DISTINCT operation_id FROM deploys_target
WHERE instance_id = ANY(%s) AND kind = 'rollback' AND status = 'pending'
"""


def _wake_waiting_rollbacks(instance_ids: list[int]) -> None:
    if not instance_ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [instance_ids])
        waiting = [row[0] for row in cursor.fetchall()]
    for operation_id in waiting:
        enqueue_work(queue=QUEUE_OF[Kind.ROLLBACK], operation_id=operation_id)


# The step of an error is the step that failed: what the way back is for is the failure of what came before it.
_STEP_THAT_FAILED = """CASE WHEN t.step <> 'revert' THEN t.step WHEN t.step_seconds ? 'confirm' THEN 'confirm'
    WHEN t.step_seconds ? 'verify' THEN 'verify' ELSE 'restart' END"""

# claims counts the workers that may have died of a target; one that hands it back, or leaves it waiting, has not.
# A move that this claim has made already counts as made, without new rows: a commit may have gone through though its
# answer was lost, and is then tried again.
_UPDATE_TARGETS = f"""
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS v(
        id bigint, fence bigint, old text, new text, error_code text, error_message text, error_told jsonb, reverted boolean,
        source text, sent_bytes bigint, full_bytes bigint, step text, terminal boolean, yields boolean, waits float8,
        asks_in float8)
), moved AS (
    UPDATE deploys_target t SET
        status = CASE WHEN w.yields AND t.stop_reason = 'supersede' AND EXISTS (
            SELECT FROM deploys_target r
            WHERE r.instance_id = t.instance_id AND r.kind = 'rollback' AND {unfinished("r")}
        ) THEN 'superseded' ELSE w.new END,
        error_code = w.error_code, error_message = w.error_message, error_told = w.error_told,
        reverted = w.reverted, source = CASE WHEN w.source = '' THEN t.source ELSE w.source END,
        sent_bytes = coalesce(w.sent_bytes, t.sent_bytes), full_bytes = coalesce(w.full_bytes, t.full_bytes),
        step = CASE WHEN w.step <> '' THEN w.step WHEN w.error_code <> '' THEN {_STEP_THAT_FAILED} ELSE t.step END,
        updated_at = clock_timestamp(),
        finished_at = CASE WHEN w.terminal THEN clock_timestamp() END,
        claims = CASE WHEN w.new = 'pending' THEN t.claims - 1 WHEN w.new = 'in_progress' THEN 0 ELSE t.claims END,
        confirm_by = coalesce(clock_timestamp() + interval '1 second' * w.waits, t.confirm_by),
        ask_at = clock_timestamp() + interval '1 second' * w.asks_in,
        lease_id = NULL
    FROM wanted w
    WHERE t.id = w.id AND t.status = w.old AND (w.fence IS NULL OR t.fence = w.fence)
    RETURNING t.id, t.status
)
SELECT id, status, true FROM moved
UNION ALL
SELECT t.id, t.status, false FROM deploys_target t JOIN wanted w ON w.id = t.id
WHERE t.fence = w.fence AND w.terminal AND (t.status = w.new OR w.yields AND t.status = 'superseded')
"""  # noqa: S608 - only constants are spliced in


def _update_targets(moves: Sequence[Move]) -> tuple[dict[int, TargetStatus], set[int]]:
    """(moved now, and to what; moved before by the same claim)"""
    records = [_record(move) for move in moves]
    with connection.cursor() as cursor:
        cursor.execute(_UPDATE_TARGETS, [json.dumps(records)])
        rows = cursor.fetchall()
    moved = {row[0]: TargetStatus(row[1]) for row in rows if row[2]}
    return moved, {row[0] for row in rows if not row[2]}


def _record(move: Move) -> dict[str, Any]:
    message, told = stored(move.told)
    return {
        "id": move.target_id,
        "fence": move.fence,
        "old": move.old,
        "new": move.new,
        "error_code": move.error_code,
        "error_message": message,
        "error_told": told,
        "reverted": move.reverted,
        "source": move.source,
        "sent_bytes": move.sent_bytes,
        "full_bytes": move.full_bytes,
        "step": move.step,
        "terminal": move.new in TERMINAL,
        "yields": move.new in (TargetStatus.COMPLETED, TargetStatus.FAILED, TargetStatus.CANCELLED),
        "waits": move.wait.seconds if move.wait else None,
        "asks_in": move.wait.ask_in_seconds if move.wait else None,
    }


def _changes(moves: Sequence[Move]) -> list[Change]:
    """The targets' changes first, then what they mean for their instances."""
    changed = [move for move in moves if move.new != move.old]
    told = [_change(move, target=(move.old, move.new), note=move.error_code) for move in changed]
    return told + [_change(move, effect=move.effect) for move in moves if move.effect is not None]


def _change(move: Move, **what: Any) -> Change:
    cause = Cause(operation_id=move.operation_id, operation_name=move.operation_name, attempt=move.attempt)
    return Change(instance_id=move.instance_id, actor=move.actor, cause=cause, **what)
