"""Every write that spans models, for API, pages and admin alike."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction

from deploys.models import Operation
from deploys.operations.busy import busy_problems
from deploys.operations.create import (
    NewOperation,
    create_operation,
    fingerprint,
    generated_id,
    insert_targets,
    notify_stop,
    same_operation,
    wake_workers,
)
from deploys.operations.package_rules import check_package_rules
from deploys.operations.reauth_rule import check_password_given
from deploys.operations.transitions import Move, apply_moves
from deploys.states import RETRYABLE, Kind, OperationStatus, StopReason, TargetStatus
from inventory.errors import Conflict, NotFound
from inventory.instances.selection import chosen_instance_pks, visible_service
from inventory.security import audit
from inventory.security.access import Access


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """A deploy as asked for; shapes are checked already.

    sha256: hex digest that the package must have, or ''. signature: detached, by the service's signing key, or '' for
    the one beside the package.
    """

    service: str
    version: str
    instances: tuple[str, ...]
    package_url: str
    deploy_id: str | None = None
    sha256: str = ""
    signature: str = ""
    reason: str = ""


def start_deploy(*, access: Access, request: DeployRequest) -> Operation:
    """Store and queue a deploy, all or nothing; the same id with the same request gives the same operation again.

    Raises NotFound (service), InvalidRequest (instances, naming each; `sha256_required`, `signing_key_unset`),
    Conflict (`deploy_id_reused`, `instance_busy`).
    """
    digest = _fingerprint(request)
    public_id = request.deploy_id or generated_id(Kind.DEPLOY)
    same = same_operation(kind=Kind.DEPLOY, public_id=public_id, fingerprint=digest, access=access)
    if same is not None:
        return same
    service = visible_service(access, request.service)
    check_package_rules(service, sha256=request.sha256, signature=request.signature)
    instance_pks = chosen_instance_pks(service, request.instances)
    return create_operation(
        NewOperation(
            kind=Kind.DEPLOY,
            public_id=public_id,
            fingerprint=digest,
            service=service,
            version=request.version,
            instance_ids=instance_pks,
            access=access,
            package_url=request.package_url,
            requested_sha256=request.sha256,
            signature=request.signature,
            reason=request.reason,
        )
    )


def _fingerprint(request: DeployRequest) -> str:
    wanted: dict[str, object] = {
        "service": request.service,
        "version": request.version,
        "instances": sorted(request.instances),
        "package_url": request.package_url,
        "sha256": request.sha256,
    }
    # Left out when not given: ids from before there were signatures keep their fingerprint.
    return fingerprint(wanted | ({"signature": request.signature} if request.signature else {}))


def visible_operation(access: Access, kind: Kind, public_id: str) -> Operation:
    """Raises NotFound for an unknown id and for another service's alike."""
    operations = access.visible(Operation.objects.filter(kind=kind, public_id=public_id))
    operation = operations.select_related("service", "package").first()
    if operation is None:
        raise NotFound(f"There is no {kind} '{public_id}'.", code=f"{kind}_not_found")
    return operation


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
        _record(access, operation, "cancel")
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


def retry_operation(*, access: Access, kind: Kind, public_id: str, has_given_password: bool = False) -> Operation:
    """Try an operation's failed and cancelled targets again, as a new attempt of the same operation.

    has_given_password: the person at the console did so for this very retry. Raises NotFound; Conflict
    `nothing_to_retry` or `instance_busy`; Forbidden `password_required`.
    """
    operation = visible_operation(access, kind, public_id)
    with transaction.atomic():
        instance_ids = _lock_retryable(operation)
        if not instance_ids:
            raise Conflict(
                f"{kind} '{public_id}' has no failed or cancelled instance to try again.", code="nothing_to_retry"
            )
        check_password_given(access, kind, len(instance_ids), has_given_password=has_given_password)
        problems = busy_problems(kind, instance_ids)
        if problems:
            raise Conflict(problems=problems)
        _reopen(operation, instance_ids)
        wake_workers(operation)
        _record(access, operation, "retry")
    return operation


def _lock_retryable(operation: Operation) -> list[int]:
    """Lock the instances first, then look again: another retry may have been faster."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM inventory_instance WHERE id IN (SELECT instance_id FROM deploys_target"
            " WHERE operation_id = %s) ORDER BY id FOR NO KEY UPDATE",
            [operation.pk],
        )
    Operation.objects.select_for_update(no_key=True).get(pk=operation.pk)
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


def _record(access: Access, operation: Operation, action: str) -> None:
    audit.record(
        actor=access.actor,
        action=f"{operation.kind}.{action}",
        object_kind=operation.kind,
        object_id=operation.public_id,
        service=operation.service.name,
    )
