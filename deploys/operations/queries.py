"""Operations as the API answers them, deploys and rollbacks alike: plain dicts by a fixed number of queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from django.db.models import QuerySet
from django.utils import translation
from django.utils.translation import gettext as _

from deploys.models import LogLine, Operation, Target
from deploys.operations.naming import kind_word, no_such_instance
from deploys.operations.progress import Progress, frozen, progress_of, status_of, updated_after, with_status
from deploys.operations.retention import lines_deleted
from deploys.states import Kind, OperationStatus, StopReason, TargetStatus
from deploys.told import said
from inventory.errors import NotFound
from inventory.instances.queries import next_cursor
from inventory.security.access import Access
from inventory.security.redaction import redact_url
from inventory.wire.wire_time import WireTime, wire_time

Payload = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OperationFilter:
    """'' leaves a criterion out, as do no statuses. cursor: only operations older than this one, by primary key."""

    service: str = ""
    status: Sequence[str] = ()
    version: str = ""
    updated_after: datetime | None = None
    cursor: int | None = None
    limit: int = 50


def operation_payload(access: Access, kind: Kind, public_id: str) -> Payload:
    """CONTRACT.md, "Deploy", Status. Raises NotFound."""
    operation = visible_operation(access, kind, public_id)
    rows = _target_rows(operation)
    is_finished = operation.finished_at is not None
    progress = frozen(operation) if is_finished else Progress.of(Counter(row[1] for row in rows))
    updated_at = max([wire_time(operation.updated_at), *(row[3] for row in rows)])
    return {**_summary(operation, progress, updated_at), "instances": [_target(row) for row in rows]}


# Of a larger operation the event says how many instances ended how; its status has each of them.
MOST_INSTANCES_IN_AN_EVENT = 100


def finished_payload(operation: Operation) -> Payload:
    """What the event of its end says: its status; `instances` is null where there are too many of them."""
    progress = frozen(operation)
    rows = _target_rows(operation) if operation.total <= MOST_INSTANCES_IN_AN_EVENT else None
    payload = _summary(operation, progress, operation.updated_at)
    payload["progress"]["superseded"] = progress.superseded
    with translation.override("en"):
        return {**payload, "instances": None if rows is None else [_target(row) for row in rows]}


def _target(row: tuple[Any, ...]) -> Payload:
    instance_id, status, version, at, step, error_code, message, told, reverted, *came, attempt, confirm_by = row
    source, sent_bytes, full_bytes = came
    return {
        "instance_id": instance_id,
        "status": status,
        "version": version or None,
        "updated_at": at,
        "step": step,
        "error": {"code": error_code, "message": said(told, message)} if error_code else None,
        "reverted": reverted,
        "source": source or None,
        "sent_bytes": sent_bytes,
        "full_bytes": full_bytes,
        "attempt": attempt,
        "confirm_by": confirm_by if status == TargetStatus.IN_PROGRESS else None,
    }


def _target_rows(operation: Operation) -> list[tuple[Any, ...]]:
    targets = Target.objects.filter(operation=operation, is_latest=True).order_by("instance__natural_key")
    return list(
        targets.values_list(
            "instance__instance_id",
            "status",
            "instance__running_version",
            WireTime("updated_at"),
            "step",
            "error_code",
            "error_message",
            "error_told",
            "reverted",
            "source",
            "sent_bytes",
            "full_bytes",
            "attempt",
            WireTime("confirm_by"),
        )
    )


def _summary(operation: Operation, progress: Progress, updated_at: datetime | str) -> Payload:
    """All of a status but its instances: what a list shows of an operation."""
    return {
        f"{operation.kind}_id": operation.public_id,
        "service": operation.service.name,
        "version": operation.version,
        **({"target_version": operation.version} if operation.kind == Kind.ROLLBACK else {}),
        "until": operation.until,
        "confirm_within": operation.confirm_within or None,
        "status": status_of(operation, progress),
        "attempt": operation.attempt,
        "progress": _progress(progress),
        "started_at": operation.started_at,
        "updated_at": updated_at,
        "completed_at": operation.finished_at,
        "package": _package(operation),
        "requested_by": operation.requested_by,
    }


def _progress(progress: Progress) -> dict[str, int]:
    """`pending` is everything unfinished, `in_progress` the part of it in progress; `cancelled` holds superseded ones."""
    return {
        "total": progress.total,
        "completed": progress.completed,
        "failed": progress.failed,
        "pending": progress.unfinished,
        "in_progress": progress.in_progress,
        "cancelled": progress.stopped,
    }


def _package(operation: Operation) -> Payload:
    package = operation.package
    url = operation.package_url or (package.url if package else "")
    return {
        "url": redact_url(url) if url else None,
        "sha256": (package.sha256 if package else operation.requested_sha256) or None,
        "size": package.size_bytes if package else None,
    }


def operation_list(access: Access, kind: Kind, wanted: OperationFilter) -> Payload:
    """Newest first: `{"deploys" or "rollbacks": […], "next": cursor or null}`."""
    operations = _matching(access, kind, wanted).select_related("service", "package").order_by("-pk")
    page = list(operations[: wanted.limit + 1])
    shown = page[: wanted.limit]
    progress = progress_of(shown)
    listed = [_listed(operation, progress[operation.pk]) for operation in shown]
    return {
        # One that has gone on since it was found no longer is what was asked for.
        f"{kind}s": [each for each in listed if not wanted.status or each["status"] in wanted.status],
        "next": next_cursor([operation.pk for operation in page], wanted.limit),
    }


def _listed(operation: Operation, progress: Progress) -> Payload:
    changed_at = progress.changed_at or operation.updated_at
    return _summary(operation, progress, max(operation.updated_at, changed_at))


def _matching(access: Access, kind: Kind, wanted: OperationFilter) -> QuerySet[Operation]:
    operations = access.visible(Operation.objects.filter(kind=kind))
    if wanted.service:
        operations = operations.filter(service__name=wanted.service)
    if wanted.version:
        operations = operations.filter(version=wanted.version)
    if wanted.status:
        operations = with_status(operations, *wanted.status)
    if wanted.updated_after is not None:
        operations = updated_after(operations, wanted.updated_after)
    if wanted.cursor is not None:
        operations = operations.filter(pk__lt=wanted.cursor)
    return operations


def operation_log(
    access: Access, kind: Kind, public_id: str, *, after: int, limit: int, tail: int = 0, instance: str = ""
) -> Payload:
    """Lines after a cursor, in order; the first `limit`, or the last `tail` of them.

    `finished`: nothing will follow what has been read. `lines_deleted`: of the log's first lines, so many are no longer
    kept. Raises NotFound.
    """
    operation = visible_operation(access, kind, public_id)
    lines = LogLine.objects.filter(operation=operation, seq__gt=after).order_by("-seq" if tail else "seq")
    if instance:
        lines = lines.filter(instance=_instance_of(operation, instance))
    rows = list(
        lines.values_list("seq", "at", "instance__instance_id", "step", "stream", "text", "told")[: tail or limit]
    )
    rows.sort(key=itemgetter(0))
    return {
        "lines": [
            {
                "cursor": str(seq),
                "at": at,
                "instance_id": instance_id,
                "step": step or None,
                "stream": stream,
                "text": said(told, text),
            }
            for seq, at, instance_id, step, stream, text, told in rows
        ],
        "next": str(rows[-1][0] if rows else after),
        "finished": operation.finished_at is not None and (bool(tail) or len(rows) < limit),
        "lines_deleted": lines_deleted(operation),
    }


def _instance_of(operation: Operation, instance_id: str) -> int:
    targets = operation.targets.filter(instance__instance_id=instance_id)
    key = targets.values_list("instance_id", flat=True).first()
    if key is None:
        detail = no_such_instance(operation, instance_id)
        raise NotFound(detail, code="instance_not_found", attr="instance")
    return key


def target_instances(operation: Operation) -> list[str]:
    """The ids of an operation's instances, in natural order."""
    return _instance_ids(operation.targets.filter(is_latest=True))


def cancelled_instances(operation: Operation) -> list[str]:
    """Those that its cancel stopped, or will at their next safe point."""
    return _instance_ids(operation.targets.filter(is_latest=True, stop_reason=StopReason.CANCEL))


def retried_instances(operation: Operation) -> list[str]:
    """Those that its newest attempt tries again."""
    return _instance_ids(operation.targets.filter(is_latest=True, attempt=operation.attempt))


def _instance_ids(targets: QuerySet[Target]) -> list[str]:
    rows = targets.order_by("instance__natural_key").values_list("instance__instance_id", flat=True)
    return list(rows)


def changed_nothing(operation: Operation) -> bool:
    """True for a rollback to what ran already: it completed without any of its targets being worked on."""
    is_completed = operation.status == OperationStatus.COMPLETED
    return is_completed and not operation.targets.filter(claims__gt=0).exists()


def visible_operation(access: Access, kind: Kind, public_id: str) -> Operation:
    """Raises NotFound for an unknown id and for another service's alike."""
    operations = access.visible(Operation.objects.filter(kind=kind, public_id=public_id))
    operation = operations.select_related("service", "package").first()
    if operation is None:
        detail = _("There is no %(kind)s '%(id)s'.") % {"kind": kind_word(kind), "id": public_id}
        raise NotFound(detail, code=f"{kind}_not_found")
    return operation
