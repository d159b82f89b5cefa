"""Confirm what waits for it after its switch (CONTRACT.md, "Confirm"): else its node goes back by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction
from django.utils.translation import gettext as _

from deploys.error_codes import ErrorCode
from deploys.models import Operation
from deploys.operations.audit_trail import record_action
from deploys.operations.locks import lock_operation
from deploys.operations.naming import no_such_instance
from deploys.operations.queries import visible_operation
from deploys.queue.announce import enqueue_work
from deploys.queue.names import QUEUE_OF
from deploys.states import Kind, TargetStatus
from inventory.errors import Conflict, InvalidRequest, Problem
from inventory.security.access import Access
from inventory.wire.wire_time import wire_time


class _Target(NamedTuple):
    """has_time: it waits, and its time is not over. is_waiting: its node waits, or was left waiting."""

    pk: int
    instance_id: str
    status: str
    step: str
    error_code: str
    stop_reason: str
    confirm_by: datetime | None
    is_confirmed: bool
    is_waiting: bool
    has_time: bool

    @property
    def may_be_confirmed(self) -> bool:
        return self.is_waiting and self.has_time and not self.stop_reason and not self.is_confirmed

    @property
    def is_settled(self) -> bool:
        """Confirmed before, and nothing has come between: the same request once more."""
        return self.is_confirmed and self.status in (TargetStatus.IN_PROGRESS, TargetStatus.COMPLETED)

    @property
    def is_late(self) -> bool:
        is_over = self.is_waiting and not self.has_time and not self.is_confirmed
        return is_over or self.error_code == ErrorCode.NOT_CONFIRMED


def confirm_deploy(*, access: Access, public_id: str, instances: Sequence[str] | None = None) -> list[str]:
    """Keep what waits to be confirmed: of the whole deploy, or these instances, all or nothing. The ids of those confirmed.

    Confirming twice is fine. Raises NotFound; InvalidRequest `instance_not_found`; Conflict `already_reverted` for those
    whose time is over, `not_waiting` for others that can't be confirmed (any more, or yet).
    """
    operation = visible_operation(access, Kind.DEPLOY, public_id)
    with transaction.atomic():
        lock_operation(operation.pk)
        targets = _targets(operation)
        chosen = targets if instances is None else _chosen(operation, targets, instances)
        confirmed = [target for target in chosen if target.may_be_confirmed or target.is_settled]
        problems = _problems(operation, chosen, is_named=instances is not None)
        if problems and (instances is not None or not confirmed):
            raise Conflict(problems=problems)
        fresh = [target.pk for target in confirmed if target.may_be_confirmed]
        if fresh:
            _confirm(fresh)
            enqueue_work(queue=QUEUE_OF[Kind.DEPLOY], operation_id=operation.pk)
            record_action(access, operation, "confirm", detail={"instances": len(fresh)})
    return [target.instance_id for target in confirmed]


def wake_for_waiting(operation: Operation) -> None:
    """Somebody has to look after those of its targets that wait to be confirmed, and were asked to stop."""
    waiting = operation.targets.filter(status=TargetStatus.IN_PROGRESS, lease=None, ask_at__isnull=False)
    if waiting.exists():
        enqueue_work(queue=QUEUE_OF[Kind(operation.kind)], operation_id=operation.pk)


def look_after_waiting(service_id: int) -> None:
    """Have the nodes of a service asked that wait to be confirmed: one that was started anew does not wait any more."""
    with connection.cursor() as cursor:
        cursor.execute(_ASK_NOW, [service_id])
        operations = {row[0] for row in cursor.fetchall()}
    for operation_id in operations:
        enqueue_work(queue=QUEUE_OF[Kind.DEPLOY], operation_id=operation_id)


_ASK_NOW = """
UPDATE deploys_target t SET ask_at = clock_timestamp() FROM (
    SELECT t.id FROM deploys_target t JOIN deploys_operation o ON o.id = t.operation_id
    WHERE o.service_id = %s AND o.finished_at IS NULL
        AND t.kind = 'deploy' AND t.status = 'in_progress' AND t.lease_id IS NULL AND t.ask_at > clock_timestamp()
    FOR UPDATE OF t SKIP LOCKED) waiting
WHERE t.id = waiting.id
RETURNING t.operation_id
"""

_TARGETS = """
SELECT t.id, i.instance_id, t.status, t.step, t.error_code, t.stop_reason, t.confirm_by, t.confirmed_at IS NOT NULL,
    t.status = 'in_progress' AND t.confirm_by IS NOT NULL, t.confirm_by > clock_timestamp()
FROM deploys_target t JOIN inventory_instance i ON i.id = t.instance_id
WHERE t.operation_id = %s AND t.is_latest ORDER BY i.natural_key
"""


def _targets(operation: Operation) -> list[_Target]:
    with connection.cursor() as cursor:
        cursor.execute(_TARGETS, [operation.pk])
        return [_Target(*row) for row in cursor.fetchall()]


def _chosen(operation: Operation, targets: Iterable[_Target], instances: Sequence[str]) -> list[_Target]:
    by_id = {target.instance_id: target for target in targets}
    unknown = [instance for instance in instances if instance not in by_id]
    if unknown:
        raise InvalidRequest(problems=[
            Problem(
                code="instance_not_found",
                detail=no_such_instance(operation, instance),
                attr="instances",
                facts={"instance_id": instance},
            )
            for instance in unknown
        ])  # fmt: skip
    return [by_id[instance] for instance in instances]


def _confirm(pks: Collection[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deploys_target SET confirmed_at = clock_timestamp(), ask_at = clock_timestamp(),"
            " updated_at = clock_timestamp() WHERE id = ANY(%s)",
            [list(pks)],
        )


def _problems(operation: Operation, targets: Iterable[_Target], *, is_named: bool) -> list[Problem]:
    """Why those can't be confirmed that can't: without names, the late ones, or that there is nothing to confirm."""
    refused = [target for target in targets if not (target.may_be_confirmed or target.is_settled)]
    late = [_late(target) for target in refused if target.is_late]
    if not is_named:
        return late or [_nothing(operation)]
    return late + [_not_waiting(target) for target in refused if not target.is_late]


def _late(target: _Target) -> Problem:
    late = (
        _("Instance '%(instance)s' was not confirmed by %(until)s: its node has gone back by itself.")
        if target.confirm_by
        else _("Instance '%(instance)s' was not confirmed in time: its node has gone back by itself.")
    )
    facts = {"instance": target.instance_id, "until": target.confirm_by and wire_time(target.confirm_by)}
    return Problem(
        code="already_reverted",
        detail=" ".join((late % facts, _("See the deploy's status, and deploy again."))),
        attr="instances",
        facts={"instance_id": target.instance_id},
    )


def _not_waiting(target: _Target) -> Problem:
    what = (
        _("Instance '%(instance)s' does not wait to be confirmed: it is being stopped.")
        if target.stop_reason and target.is_waiting
        else _("Instance '%(instance)s' does not wait to be confirmed: it is %(status)s, step %(step)s.")
    )
    return Problem(
        code="not_waiting",
        detail=what % {"instance": target.instance_id, "status": target.status, "step": target.step},
        attr="instances",
        facts={"instance_id": target.instance_id},
    )


def _nothing(operation: Operation) -> Problem:
    why = (
        _("deploy '%(id)s' has nothing to confirm: none of its instances waits for that now.")
        if operation.confirm_within
        else _("deploy '%(id)s' has nothing to confirm: it was started without confirm_within.")
    )
    return Problem(code="not_waiting", detail=why % {"id": operation.public_id})
