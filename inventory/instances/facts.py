"""What changes on an instance outside of operations, with the StatusChange rows that tell of it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models.functions import Now

from inventory.actors import Actor
from inventory.instances.held import being_changed
from inventory.instances.locks import lock_instances
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
    """Locks these instances, and returns those that no operation works on; none can start before the commit."""
    wanted = list(pks)
    lock_instances(wanted)
    locked = Instance.objects.in_bulk(wanted)
    for pk in being_changed(locked):
        del locked[pk]
    return locked
