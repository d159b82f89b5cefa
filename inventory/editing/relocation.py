"""Taking an instance elsewhere: never while an operation works on it, and never with what it ran before."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import connection

from inventory.actors import Actor
from inventory.instances import in_progress
from inventory.instances.facts import Change, Effect, record
from inventory.instances.locks import lock_instances
from inventory.models import Instance, RunStatus

# Changing one of these means another place on a node.
PLACE_FIELDS = frozenset({"node", "deploy_root"})
MOVE_FIELDS = PLACE_FIELDS | {"service", "instance_id"}
# Changing one of these means another machine for every instance of the node.
NODE_PLACE_FIELDS = frozenset({"host", "transport", "ssh_port", "jump", "jump_socket"})


def lock_inventory() -> None:
    """Until the transaction ends nobody else edits the inventory: rules that span rows are checked under this."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7262645001)")


def lock_and_find_busy(instance_pks: Iterable[int]) -> dict[int, str]:
    """The operation's id by instance, for those that are in an unfinished operation; no new one starts meanwhile."""
    pks = sorted(set(instance_pks))
    lock_instances(pks)
    return {pk: holder.operation for pk, holder in in_progress.operations.holders(instances=pks).items()}


def forgotten(instance_pk: int, *, changed: Collection[str], actor: Actor) -> Change:
    """What is no longer known of an instance that is moved or brought back, to be recorded under its lock.

    At another place it may still run what it ran (its folder was moved along, say), so that only the next sync can
    tell; as part of another service it does not.
    """
    effect = Effect(run_status=RunStatus.UNKNOWN, process="")
    if "service" in changed:
        effect = Effect(run_status=RunStatus.UNKNOWN, version="", process="", is_expected=True, history="forget")
    note = "brought back in the inventory" if "retired_at" in changed else "moved in the inventory"
    return Change(instance_id=instance_pk, actor=actor, note=note, effect=effect)


def save_instance(instance: Instance, *, changed: Collection[str], actor: Actor) -> None:
    """Write the changed fields and no others. In a transaction that has locked the inventory."""
    instance.save(update_fields=list(changed))
    if (MOVE_FIELDS - {"instance_id"}).isdisjoint(changed):
        return
    lock_and_find_busy([instance.pk])
    record([forgotten(instance.pk, changed=changed, actor=actor)])
