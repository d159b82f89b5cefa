"""Brings the inventory to what a document says: creates and updates, never deletes, all or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.db import IntegrityError, connection, models, transaction
from django.utils.translation import gettext as _

from inventory.actors import Actor
from inventory.editing.file.document import Document, InventoryFileError
from inventory.editing.file.limits import check_limits
from inventory.editing.file.plan import Plan, Planned, check, make_plan
from inventory.editing.file.read import read
from inventory.editing.file.report import ImportReport, Outcome
from inventory.editing.relocation import forgotten, lock_inventory
from inventory.editing.stored_document import etag_of, stored_document
from inventory.errors import PreconditionFailed
from inventory.instances.facts import record
from inventory.instances.sync_processes import forget_processes
from inventory.models import Instance, JumpHost, Node, Service
from inventory.security import audit
from inventory.security.access import Access, Scope

_BATCH = 1000


def import_inventory(data: bytes, *, filename: str, actor: Actor, dry_run: bool = False) -> ImportReport:
    """What a file would do or did, brought in by somebody who may change anything. Raises InventoryFileError."""
    access = Access(actor=actor, scopes=frozenset({Scope.INVENTORY}), services=None)
    return bring_in(read(data, filename=filename), access=access, dry_run=dry_run)


def bring_in(
    document: Document, *, access: Access, dry_run: bool = False, if_match: Collection[str] = ()
) -> ImportReport:
    """What a document would do or did. A key that is left out keeps its value, or has the default in a new row.

    if_match: ETags of the stored document, one of which it must have ('*': any); none given: whatever it is.
    Raises PreconditionFailed; InventoryFileError with every problem found; then nothing has changed. A dry run writes
    too, and takes it back, so that it meets what the database itself forbids.
    """
    with transaction.atomic():
        _take_time()
        lock_inventory()
        if not document.problems:
            _check_unchanged(access, if_match)
        plan = make_plan(document, access)
        check_limits(plan, access)
        check(plan, access)
        document.raise_if_wrong()
        report = ImportReport(rows=tuple(planned.report() for planned in plan.all()), is_dry_run=dry_run)
        _write(plan, access.actor)
        if dry_run:
            transaction.set_rollback(True)
        else:
            audit.record_all(actor=access.actor, events=_events(plan, report))
    return report


def _check_unchanged(access: Access, if_match: Collection[str]) -> None:
    if not if_match or "*" in if_match:
        return
    etag = etag_of(stored_document(access))
    if etag not in if_match:
        raise PreconditionFailed(
            _(
                "The inventory has changed since it was read: its ETag is %(etag)s now. Get it again, make your changes to "
                "that, and send it with the new ETag."
            )
            % {"etag": etag}
        )


def _take_time() -> None:
    """To plan a hundred thousand rows takes longer than a transaction of ours may be silent otherwise."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '5min'")


def _write(plan: Plan, actor: Actor) -> None:
    try:
        with transaction.atomic():
            _save(Service, plan.services.values())
            for depth in _by_depth(plan.jump_hosts.values()):
                _save(JumpHost, depth)
            _save(Node, plan.nodes.values())
            _save(Instance, plan.instances.values())
            record([forgotten(each.row.pk, changed=each.changed, actor=actor) for each in plan.moved])
            forget_processes(_without_version_command(plan), actor=actor)
    except IntegrityError as error:
        where = f"{plan.document.filename}: " if plan.document.filename else ""
        detail = _("the database refused it: %(reason)s. Two instances that swap their deploy roots need two imports.")
        reason = str(error).splitlines()[0]
        raise InventoryFileError(where + detail % {"reason": reason}, code="conflict", http_status=409) from error


def _without_version_command(plan: Plan) -> list[int]:
    """Services that have one no more."""
    changed = (each.row for each in plan.services.values() if "version_command" in each.changed)
    return [service.pk for service in changed if not service.version_command]


def _save(model: type[models.Model], planned: Iterable[Planned]) -> None:
    rows = list(planned)
    new = [each.row for each in rows if each.before is None]
    # Instances remember services and nodes that had no key yet when they were referred to.
    model._default_manager.bulk_create(new, batch_size=_BATCH)
    for fields, changed in _by_changed_fields(rows).items():
        # Not bulk_update: of ten thousand rows it takes three times as long.
        model._default_manager.bulk_create(
            changed, _BATCH, update_conflicts=True, update_fields=fields, unique_fields=["pk"]
        )


def _by_depth(planned: Iterable[Planned]) -> Iterator[list[Planned]]:
    """A new jump host is saved after the new one through which it is reached; there are no circles any more."""
    waiting = list(planned)
    while waiting:
        blocked = {id(each.row) for each in waiting if each.before is None}
        ready = [each for each in waiting if id(each.row.jump) not in blocked]
        yield ready
        waiting = [each for each in waiting if id(each.row.jump) in blocked]


def _by_changed_fields(planned: Iterable[Planned]) -> dict[tuple[str, ...], list[Any]]:
    groups: dict[tuple[str, ...], list[Any]] = {}
    for each in planned:
        if each.changed:
            groups.setdefault(each.changed, []).append(each.row)
    return groups


def _events(plan: Plan, report: ImportReport) -> list[audit.Event]:
    file = {"file": plan.document.filename} if plan.document.filename else {}
    return [
        audit.Event(
            action=f"{row.kind}.{'create' if row.outcome == Outcome.CREATED else 'change'}",
            object_kind=row.kind,
            object_id=row.name,
            service=_service_of(planned),
            detail=file | {"changes": {c.field: [c.old, c.new] for c in row.changes}},
        )
        for planned, row in zip(plan.all(), report.rows, strict=True)
        if row.outcome != Outcome.UNCHANGED
    ]


def _service_of(planned: Planned) -> str:
    match planned.row:
        case Service() as service:
            return service.name
        case Instance() as instance:
            return instance.service.name
        case _:
            return ""
