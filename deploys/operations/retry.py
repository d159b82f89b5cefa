"""Try again what failed or was cancelled, as a new attempt of the same operation."""

from __future__ import annotations

from django.db import transaction

from deploys.models import Operation
from deploys.operations.audit_trail import record_action
from deploys.operations.busy import busy_problems
from deploys.operations.create import (
    insert_targets,
    wake_workers,
)
from deploys.operations.held import hold_problems
from deploys.operations.locks import lock_for_deploy, lock_operation
from deploys.operations.queries import visible_operation
from deploys.operations.reauth_rule import check_password_given
from deploys.states import RETRYABLE, Kind, OperationStatus
from inventory.errors import Conflict
from inventory.security.access import Access


def retry_operation(*, access: Access, kind: Kind, public_id: str, has_given_password: bool = False) -> Operation:
    """Try an operation's failed and cancelled targets again, as a new attempt of the same operation.

    has_given_password: the person at the console did so for this very retry. Raises NotFound; Conflict
    `nothing_to_retry`, `service_held` (a deploy's alone) or `instance_busy`; Forbidden `password_required`.
    """
    operation = visible_operation(access, kind, public_id)
    with transaction.atomic():
        if kind == Kind.DEPLOY:
            lock_for_deploy(operation.service_id)
        instance_ids = _lock_retryable(operation)
        if not instance_ids:
            raise Conflict(
                f"{kind} '{public_id}' has no failed or cancelled instance to try again.", code="nothing_to_retry"
            )
        check_password_given(access, kind, len(instance_ids), has_given_password=has_given_password)
        problems = busy_problems(kind, instance_ids)
        if kind == Kind.DEPLOY:
            problems = hold_problems(operation.service) + problems
        if problems:
            raise Conflict(problems=problems)
        _reopen(operation, instance_ids)
        wake_workers(operation)
        record_action(access, operation, "retry")
    return operation


def _lock_retryable(operation: Operation) -> list[int]:
    """Looked for once they are locked: another retry may have been faster."""
    lock_operation(operation.pk)
    failed = operation.targets.filter(is_latest=True, status__in=RETRYABLE)
    return list(failed.values_list("instance_id", flat=True))


def _reopen(operation: Operation, instance_ids: list[int]) -> None:
    operation.refresh_from_db()
    operation.attempt += 1
    operation.status = OperationStatus.PENDING
    operation.finished_at = None
    operation.cancel_requested_at = None
    operation.package_error_code = operation.package_error_message = ""
    operation.save(
        update_fields=(
            "attempt",
            "status",
            "finished_at",
            "cancel_requested_at",
            "package_error_code",
            "package_error_message",
        )
    )
    operation.targets.filter(instance_id__in=instance_ids, is_latest=True).update(is_latest=False)
    insert_targets(operation, instance_ids, attempt=operation.attempt)
