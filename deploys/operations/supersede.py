"""End the deploys that stand in a rollback's way."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from deploys.models import Operation
from deploys.operations.transitions import Move, apply_moves
from deploys.queue.announce import notify_stop
from deploys.states import Kind, StopReason, TargetStatus
from inventory.actors import Actor

_LOCK_DEPLOYS = """
SELECT o.id FROM deploys_operation o WHERE o.id IN (
    SELECT t.operation_id FROM deploys_target t
    WHERE t.instance_id = ANY(%s) AND t.kind = 'deploy' AND t.status IN ('pending', 'in_progress'))
ORDER BY o.id FOR NO KEY UPDATE
"""


_ASK_TO_STOP = """
UPDATE deploys_target t SET stop_reason = %s, stop_requested_at = clock_timestamp(), updated_at = clock_timestamp()
FROM deploys_operation o
WHERE o.id = t.operation_id AND t.instance_id = ANY(%s) AND t.kind = 'deploy' AND t.status IN ('pending', 'in_progress')
RETURNING t.id, t.instance_id, t.operation_id, t.attempt, t.status, o.kind || ' ' || o.public_id
"""


def supersede_deploys(instance_ids: Sequence[int], *, by: Operation, actor: Actor) -> set[int]:
    """End these instances' unfinished deploys: pending ones now, those at work at their next safe point.

    Returns the ids of the instances whose deploy is at work still.

    The caller holds the instances' locks, so no new deploy can appear meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_DEPLOYS, [list(instance_ids)])
        cursor.execute(_ASK_TO_STOP, [StopReason.SUPERSEDE, list(instance_ids)])
        asked = cursor.fetchall()
    apply_moves([
        Move(
            target_id=target_id,
            instance_id=instance_id,
            operation_id=operation_id,
            operation_name=name,
            attempt=attempt,
            old=TargetStatus.PENDING,
            new=TargetStatus.SUPERSEDED,
            actor=actor,
            error_message=f"{by} goes first.",
        )
        for target_id, instance_id, operation_id, attempt, status, name in asked
        if status == TargetStatus.PENDING
    ])  # fmt: skip
    at_work = {row[1] for row in asked if row[4] == TargetStatus.IN_PROGRESS}
    if at_work:
        notify_stop(Kind.DEPLOY)
    return at_work
