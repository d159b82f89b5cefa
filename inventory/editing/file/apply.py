"""Brings the inventory to what an inventory file says: creates and updates, never deletes, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import IntegrityError, connection, models, transaction
from django.utils.translation import gettext as _

from inventory.actors import Actor
from inventory.editing.file import read
from inventory.editing.file.plan import Plan, Planned, check, make_plan
from inventory.editing.file.read import InventoryFileError
from inventory.editing.file.report import ImportReport, Outcome
from inventory.editing.relocation import forgotten, lock_inventory
from inventory.instances.facts import record
from inventory.models import Instance, JumpHost, Node, Service
from inventory.security import audit

_BATCH = 1000


def import_inventory(data: bytes, *, filename: str, actor: Actor, dry_run: bool = False) -> ImportReport:
    """What a file would do or did. A key that is left out keeps its value, or has the default in a new row.

    Raises InventoryFileError with every problem found; then nothing has changed. A dry run writes too, and takes it
    back, so that it meets what the database itself forbids.
    """
    document = read.read(data, filename=filename)
    with transaction.atomic():
        _take_time()
        lock_inventory()
        plan = make_plan(document)
        check(plan)
        document.raise_if_wrong()
        report = ImportReport(rows=tuple(planned.report() for planned in plan.all()), is_dry_run=dry_run)
        _write(plan, actor)
        if dry_run:
            transaction.set_rollback(True)
        else:
            audit.record_all(actor=actor, events=_events(plan, report))
    return report


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
    except IntegrityError as error:
        raise InventoryFileError(
            _(
                "%(filename)s: the database refused it: %(reason)s. Two instances that swap their deploy roots need two imports."
            )
            % {"filename": plan.document.filename, "reason": str(error).splitlines()[0]},
            code="conflict",
        ) from error


def _save(model: type[models.Model], planned: Iterable[Planned]) -> None:
    rows = list(planned)
    new = [each.row for each in rows if each.before is None]
    # Instances remember services and nodes that had no key yet when they were referred to.
    model._default_manager.bulk_create(new, batch_size=_BATCH)
    for fields, changed in _by_changed_fields(rows).items():
        model._default_manager.bulk_update(changed, fields, batch_size=_BATCH)


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
    return [
        audit.Event(
            action=f"{row.kind}.{'create' if row.outcome == Outcome.CREATED else 'change'}",
            object_kind=row.kind,
            object_id=row.name,
            service=_service_of(planned),
            detail={"file": plan.document.filename, "changes": {c.field: [c.old, c.new] for c in row.changes}},
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
