"""Cancel an operation of either kind."""

from __future__ import annotations

from django.db import connection, transaction
from django.utils.translation import gettext as _

from deploys.models import Operation
from deploys.operations.audit_trail import record_action
from deploys.operations.confirm import wake_for_waiting
from deploys.operations.locks import lock_operation
from deploys.operations.naming import named
from deploys.operations.queries import visible_operation
from deploys.operations.sql import unfinished
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.queue.announce import notify_stop
from deploys.states import Kind, OperationStatus, StopReason, TargetStatus
from deploys.told import Told
from deploys.told import marked as gettext_noop
from inventory.errors import Conflict
from inventory.security.access import Access


def cancel_operation(*, access: Access, kind: Kind, public_id: str) -> Operation:
    """Cancel what has not started, ask what is in progress to stop at its next safe point. Cancelling twice is fine.

    Raises NotFound; Conflict `already_finished` when it ended otherwise.
    """
    operation = visible_operation(access, kind, public_id)
    with transaction.atomic():
        asked = _ask_to_stop(operation)
        if not asked:
            return _already_ended(operation)
        _cancel_pending(asked, access)
        notify_stop(kind)
        wake_for_waiting(operation)
        record_action(access, operation, "cancel")
    operation.refresh_from_db()
    return operation


_ASK_TO_STOP = f"""
UPDATE deploys_target t SET stop_requested_at = coalesce(stop_requested_at, clock_timestamp()),
    stop_reason = %s, updated_at = clock_timestamp()
WHERE t.operation_id = %s AND {unfinished("t")}
RETURNING t.id, t.instance_id, t.operation_id, %s, t.attempt, t.status
"""  # noqa: S608 - only constants are spliced in


def _ask_to_stop(operation: Operation) -> list[MovableTarget]:
    lock_operation(operation.pk)
    with connection.cursor() as cursor:
        cursor.execute(_ASK_TO_STOP, [StopReason.CANCEL, operation.pk, str(operation)])
        asked = [MovableTarget(*row) for row in cursor.fetchall()]
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
        _("%(kind)s '%(id)s' is %(status)s already: nothing is left to cancel.")
        % {**named(operation), "status": operation.status},
        code="already_finished",
    )


def _cancel_pending(asked: list[MovableTarget], access: Access) -> None:
    told = (Told(gettext_noop("Cancelled by %(who)s before it had begun."), {"who": access.actor.name}),)
    apply_moves([
        Move.of(target, to=TargetStatus.CANCELLED, actor=access.actor, told=told)
        for target in asked
        if target.status == TargetStatus.PENDING
    ])  # fmt: skip
