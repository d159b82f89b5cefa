"""What changes on an instance outside of operations, with the StatusChange rows that tell of it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models.functions import Now

from inventory.actors import Actor
from inventory.models import Instance, StatusChange

_COLUMNS = {
    StatusChange.Field.VERSION: "running_version",
    StatusChange.Field.RUN_STATUS: "run_status",
    StatusChange.Field.HEALTH: "health",
}


def change(instance: Instance, *, actor: Actor, note: str = "", **values: str) -> list[StatusChange]:
    """Set running_version, run_status, health; return a row for each that changed. The caller saves both.

    The instance's row is locked: each row's `old` must be the `new` of the one before it.
    """
    rows = []
    for field, column in _COLUMNS.items():
        old, new = getattr(instance, column), values.get(column)
        if new is None or new == old:
            continue
        setattr(instance, column, new)
        rows.append(
            StatusChange(
                instance=instance,
                field=field,
                old=old,
                new=new,
                actor_kind=actor.kind,
                actor_name=actor.name,
                note=note,
            )
        )
    if rows:
        instance.changed_at = Now()
    return rows


def lock_settled(pks: Iterable[int]) -> dict[int, Instance]:
    """Locks these instances, and returns those that no operation works on; none can start before the commit.

    Two queries: one that had waited for the lock would look at the targets as they were before.
    """
    rows = Instance.objects.filter(pk__in=list(pks))
    locked = {instance.pk: instance for instance in rows.order_by("pk").select_for_update(no_key=True)}
    at_work = Instance.objects.filter(pk__in=locked, targets__status="in_progress").values_list("pk", flat=True)
    for pk in at_work:
        del locked[pk]
    return locked
