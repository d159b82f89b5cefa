"""Create an operation with its targets: idempotent by id, all or nothing, exclusive per instance.

Shared by deploys and rollbacks, so that one set of locks guards both.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.utils.translation import gettext as _

from deploys.models import Operation, Package
from deploys.operations.audit_trail import record_action
from deploys.operations.busy import busy_problems, retired_problems
from deploys.operations.finish import finalize_finished
from deploys.operations.held import hold_problems
from deploys.operations.hold import lock_unfinished_deploys, place_hold
from deploys.operations.identity import Asked, fingerprint, is_same_request, use_newer_link
from deploys.operations.journal import log_asked_for
from deploys.operations.locks import lock_for_deploy, lock_for_hold, lock_instances
from deploys.operations.old_workers import old_worker_problems
from deploys.operations.supersede import supersede_deploys
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.queue.announce import enqueue_work
from deploys.queue.names import QUEUE_OF
from deploys.states import Kind, Step, TargetStatus, Until
from inventory.actors import Actor
from inventory.drift import Drift
from inventory.errors import Conflict
from inventory.models import Instance, RunStatus, Service
from inventory.security.access import Access


@dataclass(frozen=True, kw_only=True)
class NewOperation:
    """Everything that an operation is made of. instance_ids are primary keys, already checked to be the service's.

    asked: the request, as `deploys.operations.identity` compares it.

    hold: of a rollback, that it holds the service, too.
    """

    kind: Kind
    public_id: str
    asked: Asked
    service: Service
    version: str
    instance_ids: Sequence[int]
    access: Access
    until: Until = Until.SWITCHED
    confirm_within: int = 0
    from_version: str = ""
    package_url: str = ""
    requested_sha256: str = ""
    signature: str = ""
    package: Package | None = None
    reason: str = ""
    undoes_id: int | None = None
    hold: bool = False


def generated_id(kind: Kind) -> str:
    return f"{kind}-{secrets.token_hex(8)}"


def same_operation(*, kind: Kind, public_id: str, asked: Asked, access: Access) -> Operation | None:
    """The operation that this id already names, if it came from the same request; None if the id is free.

    If the package's link has been signed anew since, the operation goes on with the newer one. Raises Conflict
    `<kind>_id_reused` if the id names another request's operation.
    """
    found = Operation.objects.select_related("service").filter(kind=kind, public_id=public_id).first()
    if found is None:
        return None
    is_theirs = access.visible(Operation.objects.filter(pk=found.pk)).exists()
    if is_theirs and is_same_request(found, asked):
        use_newer_link(found, asked)
        return found
    raise Conflict(
        _("%(key)s '%(id)s' was used for another request. Send the same request again, or take a new id.")
        % {"key": f"{kind}_id", "id": public_id},
        code=f"{kind}_id_reused",
        attr=f"{kind}_id",
    )


def create_operation(new: NewOperation) -> Operation:
    """Store the operation and queue its work in one transaction, or change nothing.

    Raises Conflict `workers_outdated`, `service_held`, and `instance_busy` naming every instance in the way. When the same
    request arrives many times at once, all get the one operation.
    """
    try:
        with transaction.atomic():
            return _create(new)
    except IntegrityError:
        same = same_operation(kind=new.kind, public_id=new.public_id, asked=new.asked, access=new.access)
        if same is None:
            raise
        return same


def _create(new: NewOperation) -> Operation:
    _lock_service(new)
    operation = _insert_operation(new)
    _lock_instances(new)
    problems = retired_problems(new.instance_ids) + busy_problems(new.kind, new.instance_ids)
    if new.kind == Kind.DEPLOY:
        outdated = old_worker_problems(until=new.until, confirm_within=new.confirm_within)
        problems = outdated + hold_problems(new.service) + problems
    if problems:
        raise Conflict(problems=problems)
    unchanged: set[int] = set()
    if new.kind == Kind.ROLLBACK:
        at_work = supersede_deploys(new.instance_ids, by=operation, actor=new.access.actor)
        unchanged = _running_already(new) - at_work
    insert_targets(operation, new.instance_ids, attempt=1)
    _complete_unchanged(operation, unchanged, actor=new.access.actor)
    if len(unchanged) < len(new.instance_ids):
        wake_workers(operation)
    else:
        finalize_finished([operation.pk])
        operation.refresh_from_db()
    if new.hold:
        place_hold(new.service, by=new.access.actor, reason=new.reason or f"{operation} to {new.version}.")
    detail = {"version": new.version, "instances": len(new.instance_ids), "reason": new.reason}
    record_action(new.access, operation, "start", detail=detail)
    transaction.on_commit(partial(log_asked_for, operation), robust=True)
    return operation


def _lock_service(new: NewOperation) -> None:
    if new.hold:
        lock_for_hold(new.service.pk)
    elif new.kind == Kind.DEPLOY:
        lock_for_deploy(new.service.pk)


def _lock_instances(new: NewOperation) -> None:
    if new.hold:
        lock_unfinished_deploys(new.service, instance_ids=new.instance_ids)
    else:
        lock_instances(new.instance_ids)


def _insert_operation(new: NewOperation) -> Operation:
    actor = new.access.actor
    operation = Operation(
        kind=new.kind,
        public_id=new.public_id,
        service=new.service,
        version=new.version,
        until=new.until,
        confirm_within=new.confirm_within,
        from_version=new.from_version,
        package_url=new.package_url,
        requested_sha256=new.requested_sha256,
        signature=new.signature,
        package=new.package,
        fingerprint=fingerprint(new.asked),
        total=len(new.instance_ids),
        requested_by=actor.name,
        requested_by_kind=actor.kind,
        reason=new.reason,
        undoes_id=new.undoes_id,
    )
    operation.save(force_insert=True)
    return operation


_INSERT_TARGETS = """
INSERT INTO deploys_target (operation_id, instance_id, kind, attempt, is_latest, status, step, step_seconds,
    error_code, error_message, source, previous_version, stop_reason, claims)
SELECT %s, i.id, %s, %s, true, 'pending', 'queued', '{}', '', '', '', i.running_version, '', 0
FROM inventory_instance i WHERE i.id = ANY(%s) ORDER BY i.natural_key
"""


def insert_targets(operation: Operation, instance_ids: Sequence[int], *, attempt: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_TARGETS, [operation.pk, operation.kind, attempt, list(instance_ids)])


def _running_already(new: NewOperation) -> set[int]:
    """Those of the instances, locked by now, that run what is asked for, successfully: they are not touched."""
    version = new.version
    there = Instance.objects.filter(pk__in=new.instance_ids, running_version=version, expected_version=version)
    return {
        pk
        for pk, process, status, sha256 in there.order_by().values_list(
            "pk", "process_version", "run_status", "running_sha256"
        )
        if Drift.of(running=version, expected=version, process=process) is None
        and status != RunStatus.FAILED
        and (new.package is None or sha256 == new.package.sha256)
    }


def _complete_unchanged(operation: Operation, instance_ids: set[int], *, actor: Actor) -> None:
    if not instance_ids:
        return
    targets = operation.targets.filter(instance_id__in=instance_ids, status=TargetStatus.PENDING)
    rows = targets.values_list("pk", "instance_id", "operation_id", Value(str(operation)), "attempt", "status")
    apply_moves([
        Move.of(MovableTarget(*row), to=TargetStatus.COMPLETED, actor=actor, step=Step.DONE) for row in rows
    ])  # fmt: skip


def wake_workers(operation: Operation) -> None:
    """Queue as many messages as workers of one host may share the operation's nodes."""
    # One instance stands on one node: nothing to count.
    nodes = 1 if operation.total == 1 else _waiting_nodes(operation)
    enqueue_work(
        queue=QUEUE_OF[Kind(operation.kind)],
        operation_id=operation.pk,
        messages=max(1, min(settings.WORKERS, nodes)),
    )


def _waiting_nodes(operation: Operation) -> int:
    return operation.targets.filter(status=TargetStatus.PENDING).values("instance__node_id").distinct().count()
