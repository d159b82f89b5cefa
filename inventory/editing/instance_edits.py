"""Saves an edited instance, and what a move makes it forget."""

from __future__ import annotations

from collections.abc import Collection

from inventory.actors import Actor
from inventory.editing.relocation import FORGOTTEN_FIELDS, MOVE_FIELDS, forget, lock_and_find_busy
from inventory.models import Instance, StatusChange


def save_instance(instance: Instance, *, changed: Collection[str], actor: Actor) -> None:
    """Write the changed fields and no others. In a transaction that has locked the inventory."""
    instance.save(update_fields=list(changed))
    if (MOVE_FIELDS - {"instance_id"}).isdisjoint(changed):
        return
    lock_and_find_busy([instance.pk])
    # Read under the lock: an operation may have ended since the page was made.
    fresh = Instance.objects.get(pk=instance.pk)
    rows = forget(fresh, changed=changed, actor=actor)
    fresh.save(update_fields=FORGOTTEN_FIELDS)
    StatusChange.objects.bulk_create(rows)
