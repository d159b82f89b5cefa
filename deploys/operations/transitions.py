"""The one writer of target status: guarded, in batches, with everything that follows from a move."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

from django.db import connection, transaction

from deploys.error_codes import ErrorCode
from deploys.models import Target
from deploys.operations.finish import freeze_finished
from deploys.operations.locks import lock_instances, lock_operations
from deploys.queue.announce import enqueue_drive
from deploys.queue.names import QUEUE_OF
from deploys.states import TERMINAL, TRANSITIONS, Kind, TargetStatus
from inventory.actors import Actor
from inventory.models import StatusChange


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a move means for its instance. None leaves a value as it is.

    history: 'push' for a release that was switched to by a deploy, 'pop' for one that was rolled back to.
    """

    version: str | None = None
    release: str | None = None
    sha256: str | None = None
    run_status: str | None = None
    is_expected: bool = False
    history: str = ""


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
class Move:
    """One target's change of status. `fence`: only while this claim still holds the target; None: whoever holds it."""

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
    error_message: str = ""
    reverted: bool | None = None
    source: str = ""
    step: str = ""
    effect: Effect | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a code that is none of ours: programs and pages go by the list."""
        if self.error_code:
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
    rollback has asked to give way ends as superseded, however its own switch ended, whether its worker knew it or not.
    """
    if not moves:
        return set()
    for move in moves:
        if move.new not in TRANSITIONS.get(move.old, ()):
            raise ValueError(f"a target does not go from {move.old} to {move.new}")
    with transaction.atomic():
        lock_instances(move.instance_id for move in moves)
        lock_operations(move.operation_id for move in moves)
        instances = _instances({move.instance_id for move in moves if move.effect is not None})
        moved, moved_before = _update_targets(moves)
        made = [replace(move, new=moved[move.target_id]) for move in moves if move.target_id in moved]
        changes = [_target_change(move) for move in made]
        changes += _change_instances(made, instances)
        insert_changes(changes)
        _follow_up([move for move in made if move.new in TERMINAL])
    return moved.keys() | moved_before


def _follow_up(ended: Sequence[Move]) -> None:
    if not ended:
        return
    freeze_finished({move.operation_id for move in ended})
    _wake_waiting_rollbacks([move.instance_id for move in ended])


# A rollback that goes before a deploy can start once the deploy's target has let go of the instance.
_WAITING = """
SELECT DISTINCT operation_id FROM deploys_target
WHERE instance_id = ANY(%s) AND kind = 'rollback' AND status = 'pending'
"""


def _wake_waiting_rollbacks(instance_ids: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [instance_ids])
        waiting = [row[0] for row in cursor.fetchall()]
    for operation_id in waiting:
        enqueue_drive(queue=QUEUE_OF[Kind.ROLLBACK], operation_id=operation_id)


def _instances(ids: set[int]) -> dict[int, dict[str, Any]]:
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, running_version, running_release, running_sha256, expected_version, run_status, release_history"
            " FROM inventory_instance WHERE id = ANY(%s)",
            [list(ids)],
        )
        names = [column.name for column in cursor.description or ()]
        return {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


# claims counts the workers that may have died of a target; one that hands it back has not.
# A move that this claim has made already counts as made, without new rows: a commit may have gone through though its
# answer was lost, and is then tried again.
_UPDATE_TARGETS = """
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS v(
        id bigint, fence bigint, old text, new text, error_code text, error_message text, reverted boolean,
        source text, step text, terminal boolean, yields boolean)
), moved AS (
    UPDATE deploys_target t SET
        status = CASE WHEN w.yields AND t.stop_reason = 'supersede' THEN 'superseded' ELSE w.new END,
        error_code = w.error_code, error_message = w.error_message,
        reverted = w.reverted, source = CASE WHEN w.source = '' THEN t.source ELSE w.source END,
        step = CASE WHEN w.step = '' THEN t.step ELSE w.step END,
        updated_at = clock_timestamp(),
        finished_at = CASE WHEN w.terminal THEN clock_timestamp() END,
        claims = CASE WHEN w.new = 'pending' THEN t.claims - 1 ELSE t.claims END,
        lease_id = NULL
    FROM wanted w
    WHERE t.id = w.id AND t.status = w.old AND (w.fence IS NULL OR t.fence = w.fence)
    RETURNING t.id, t.status
)
SELECT id, status, true FROM moved
UNION ALL
SELECT t.id, t.status, false FROM deploys_target t JOIN wanted w ON w.id = t.id
WHERE t.fence = w.fence AND w.terminal AND (t.status = w.new OR w.yields AND t.status = 'superseded')
"""


def _update_targets(moves: Sequence[Move]) -> tuple[dict[int, TargetStatus], set[int]]:
    """(moved now, and to what; moved before by the same claim)"""
    records = [
        {
            "id": move.target_id,
            "fence": move.fence,
            "old": move.old,
            "new": move.new,
            "error_code": move.error_code,
            "error_message": move.error_message,
            "reverted": move.reverted,
            "source": move.source,
            "step": move.step,
            "terminal": move.new in TERMINAL,
            "yields": move.new in (TargetStatus.COMPLETED, TargetStatus.FAILED),
        }
        for move in moves
    ]
    with connection.cursor() as cursor:
        cursor.execute(_UPDATE_TARGETS, [json.dumps(records)])
        rows = cursor.fetchall()
    moved = {row[0]: TargetStatus(row[1]) for row in rows if row[2]}
    return moved, {row[0] for row in rows if not row[2]}


def _target_change(move: Move) -> dict[str, Any]:
    return _change(move, StatusChange.Field.TARGET, move.old, move.new, note=move.error_code)


def _change(move: Move, field: str, old: str, new: str, *, note: str = "") -> dict[str, Any]:
    return {
        "instance_id": move.instance_id,
        "field": field,
        "old": old,
        "new": new,
        "operation_id": move.operation_id,
        "operation_name": move.operation_name,
        "attempt": move.attempt,
        "actor_kind": move.actor.kind,
        "actor_name": move.actor.name,
        "note": note,
    }


def _change_instances(moves: Sequence[Move], instances: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Apply the moves' effects; return the StatusChange rows to write for them."""
    changes: list[dict[str, Any]] = []
    touched: dict[int, dict[str, Any]] = {}
    for move in moves:
        if move.effect is None:
            continue
        row = instances[move.instance_id]
        touched[move.instance_id] = row
        changes += _change_instance(move, move.effect, row)
    _update_instances(list(touched.values()))
    return changes


def _change_instance(move: Move, effect: Effect, row: dict[str, Any]) -> list[dict[str, Any]]:
    changes = []
    if effect.version is not None:
        if effect.version != row["running_version"]:
            changes.append(_change(move, StatusChange.Field.VERSION, row["running_version"], effect.version))
        row["running_version"] = effect.version
        row["running_release"] = effect.release or effect.version
        row["running_sha256"] = effect.sha256 or ""
        if effect.is_expected:
            row["expected_version"] = effect.version
    if effect.run_status is not None and effect.run_status != row["run_status"]:
        changes.append(_change(move, StatusChange.Field.RUN_STATUS, row["run_status"], effect.run_status))
        row["run_status"] = effect.run_status
    if effect.history:
        row["release_history"] = _history_after(row["release_history"], effect.history, row["running_release"])
    return changes


_HISTORY_LENGTH = 50


def _history_after(history: list[str], change: str, release: str) -> list[str]:
    """A deploy pushes its release; a rollback goes back to where its release stands, or pushes an unknown one."""
    if history and history[-1] == release:
        return history
    if change == "pop" and release in history:
        at = len(history) - 1 - history[::-1].index(release)
        return history[: at + 1]
    return [*history, release][-_HISTORY_LENGTH:]


_UPDATE_INSTANCES = """
UPDATE inventory_instance i SET
    running_version = v.running_version, running_release = v.running_release, running_sha256 = v.running_sha256,
    expected_version = v.expected_version, run_status = v.run_status, changed_at = clock_timestamp(),
    release_history = ARRAY(SELECT jsonb_array_elements_text(v.release_history))
FROM jsonb_to_recordset(%s::jsonb) AS v(
    id bigint, running_version text, running_release text, running_sha256 text, expected_version text,
    run_status text, release_history jsonb)
WHERE i.id = v.id
"""


def _update_instances(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(_UPDATE_INSTANCES, [json.dumps(rows)])


_INSERT_CHANGES = """
INSERT INTO inventory_statuschange (instance_id, field, old, new, at, operation_id, operation_name, attempt,
    actor_kind, actor_name, note)
SELECT v.instance_id, v.field, v.old, v.new, clock_timestamp(), v.operation_id, v.operation_name, v.attempt,
    v.actor_kind, v.actor_name, v.note
FROM jsonb_to_recordset(%s::jsonb) AS v(
    instance_id bigint, field text, old text, new text, operation_id bigint, operation_name text, attempt integer,
    actor_kind text, actor_name text, note text)
"""


def insert_changes(changes: list[dict[str, Any]]) -> None:
    """Write StatusChange rows, in the order given. Keys: those of `_INSERT_CHANGES`."""
    if not changes:
        return
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_CHANGES, [json.dumps(changes)])
