"""Cancel an operation of either kind."""

from __future__ import annotations

from django.db import connection, transaction

from deploys.models import Operation
from deploys.operations.audit_trail import record_action
from deploys.operations.queries import visible_operation
from deploys.operations.transitions import Move, apply_moves
from deploys.queue.announce import notify_stop
from deploys.states import Kind, OperationStatus, StopReason, TargetStatus
from inventory.errors import Conflict
from inventory.security.access import Access


def cancel_operation(*, access: Access, kind: Kind, public_id: str) -> Operation:
    """Cancel what has not started, ask what is at work to stop at its next safe point. Cancelling twice is fine.

    Raises NotFound; Conflict `already_finished` when it ended otherwise.
    """
    operation = visible_operation(access, kind, public_id)
    with transaction.atomic():
        asked = _ask_to_stop(operation)
        if not asked:
            return _already_ended(operation)
        _cancel_pending(operation, asked, access)
        notify_stop(kind)
        record_action(access, operation, "cancel")
    operation.refresh_from_db()
    return operation


_LOCK = """
SELECT id FROM inventory_instance WHERE id IN (
    SELECT instance_id FROM deploys_target WHERE operation_id = %s AND status IN ('pending', 'in_progress'))
ORDER BY id FOR NO KEY UPDATE
"""


_ASK_TO_STOP = """
UPDATE deploys_target SET stop_requested_at = coalesce(stop_requested_at, clock_timestamp()),
    stop_reason = %s, updated_at = clock_timestamp()
WHERE operation_id = %s AND status IN ('pending', 'in_progress')
RETURNING id, instance_id, attempt, status
"""


def _ask_to_stop(operation: Operation) -> list[tuple[int, int, int, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [operation.pk])
        cursor.execute("SELECT FROM deploys_operation WHERE id = %s FOR NO KEY UPDATE", [operation.pk])
        cursor.execute(_ASK_TO_STOP, [StopReason.CANCEL, operation.pk])
        asked: list[tuple[int, int, int, str]] = cursor.fetchall()
        cursor.execute(
            "UPDATE deploys_operation SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())"
            " WHERE id = %s AND finished_at IS NULL",
            [operation.pk],
        )
    return asked


def _already_ended(operation: Operation) -> Operation:
    operation.refresh_from_db()
    if operation.status == OperationStatus.CANCELLED:
        return operation
    raise Conflict(
        f"{operation.kind} '{operation.public_id}' is {operation.status} already: nothing is left to cancel.",
        code="already_finished",
    )


def _cancel_pending(operation: Operation, asked: list[tuple[int, int, int, str]], access: Access) -> None:
    apply_moves([
        Move(
            target_id=target_id,
            instance_id=instance_id,
            operation_id=operation.pk,
            operation_name=str(operation),
            attempt=attempt,
            old=TargetStatus.PENDING,
            new=TargetStatus.CANCELLED,
            actor=access.actor,
            error_message=f"Cancelled by {access.actor.name} before it had begun.",
        )
        for target_id, instance_id, attempt, status in asked
        if status == TargetStatus.PENDING
    ])  # fmt: skip
