"""End the deploys that stand in a rollback's way."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from deploys.models import Operation
from deploys.operations.locks import lock_operations
from deploys.operations.sql import unfinished
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.queue.announce import notify_stop
from deploys.states import Kind, StopReason, TargetStatus
from deploys.told import Told
from deploys.told import marked as _
from inventory.actors import Actor
from inventory.instances.facts import Effect
from inventory.models import RunStatus

_UNFINISHED_DEPLOYS = f"""
SELECT DISTINCT t.operation_id FROM deploys_target t
WHERE t.instance_id = ANY(%s) AND t.kind = 'deploy' AND {unfinished("t")}
"""  # noqa: S608 - only constants are spliced in

_ASK_TO_STOP = f"""
UPDATE deploys_target t SET stop_reason = %s, stop_requested_at = clock_timestamp(), updated_at = clock_timestamp()
FROM deploys_operation o
WHERE o.id = t.operation_id AND t.instance_id = ANY(%s) AND t.kind = 'deploy' AND {unfinished("t")}
RETURNING t.id, t.instance_id, t.operation_id, o.kind || ' ' || o.public_id, t.attempt, t.status,
    t.lease_id IS NULL AND t.ask_at IS NOT NULL
"""  # noqa: S608 - only constants are spliced in


def supersede_deploys(instance_ids: Sequence[int], *, by: Operation, actor: Actor) -> set[int]:
    """End these instances' unfinished deploys: pending ones now, and those that wait to be confirmed; those in progress at
    their next safe point.

    Returns the ids of the instances whose deploy was in progress.

    The caller holds the instances' locks, so no new deploy can appear meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(_UNFINISHED_DEPLOYS, [list(instance_ids)])
        found = cursor.fetchall()
        if not found:
            return set()
        lock_operations(row[0] for row in found)
        cursor.execute(_ASK_TO_STOP, [StopReason.SUPERSEDE, list(instance_ids)])
        asked = [(MovableTarget(*row[:-1]), row[-1]) for row in cursor.fetchall()]
    apply_moves([
        _end(target, by=by, actor=actor, is_waiting=is_waiting)
        for target, is_waiting in asked
        if is_waiting or target.status == TargetStatus.PENDING
    ])  # fmt: skip
    at_work = {target.instance_id for target, _ in asked if target.status == TargetStatus.IN_PROGRESS}
    if at_work:
        notify_stop(Kind.DEPLOY)
    return at_work


def _end(target: MovableTarget, *, by: Operation, actor: Actor, is_waiting: bool) -> Move:
    """is_waiting: its node waits to be confirmed, and no worker is at it; the rollback's switch ends that."""
    text, effect = _("Superseded by %(by)s."), None
    if is_waiting:
        text = _("Superseded by %(by)s while it waited to be confirmed.")
        effect = Effect(run_status=RunStatus.UNKNOWN)
    told = (Told(text, {"by": str(by)}),)
    return Move.of(target, to=TargetStatus.SUPERSEDED, actor=actor, told=told, effect=effect)
