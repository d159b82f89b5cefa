"""Taking an instance elsewhere: never while an operation works on it, and never with what it ran before."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import connection

from inventory.actors import Actor
from inventory.instances.facts import change
from inventory.instances.held import unfinished_targets
from inventory.instances.locks import lock_instances
from inventory.models import Instance, RunStatus, StatusChange

# Changing one of these means another place on a node.
PLACE_FIELDS = frozenset({"node", "deploy_root"})
MOVE_FIELDS = PLACE_FIELDS | {"service", "instance_id"}
# Changing one of these means another machine for every instance of the node.
NODE_PLACE_FIELDS = frozenset({"host", "transport", "ssh_port"})
FORGOTTEN_FIELDS = (
    "running_version",
    "running_release",
    "running_sha256",
    "expected_version",
    "release_history",
    "run_status",
    "changed_at",
)


def lock_inventory() -> None:
    """Until the transaction ends nobody else edits the inventory: rules that span rows are checked under this."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7262645001)")


def lock_and_find_busy(instance_pks: Iterable[int]) -> dict[int, str]:
    """The operation's id by instance, for those that are in an unfinished operation; no new one starts meanwhile."""
    pks = sorted(set(instance_pks))
    lock_instances(pks)
    held = unfinished_targets().filter(instance__in=pks).order_by()
    return dict(held.values_list("instance_id", "operation__public_id"))


def forget(instance: Instance, *, changed: Iterable[str], actor: Actor) -> list[StatusChange]:
    """Set what a moved instance no longer knows of itself; the caller saves FORGOTTEN_FIELDS and the returned rows.

    At another place it may still run what it ran (its folder was moved along, say), so that only the next sync can
    tell; as part of another service it does not.
    """
    values: dict[str, str] = {"run_status": RunStatus.UNKNOWN}
    if "service" in changed:
        values["running_version"] = ""
        instance.running_release = instance.running_sha256 = instance.expected_version = ""
        instance.release_history = []
    return change(instance, actor=actor, note="moved in the inventory", **values)


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
