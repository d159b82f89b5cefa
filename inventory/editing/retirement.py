"""Taking an instance or a node out of the inventory: no longer listed or chosen, its history and its name kept."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from inventory.editing.relocation import lock_inventory
from inventory.errors import Conflict, Forbidden, NotFound, Problem
from inventory.instances import in_progress
from inventory.instances.locks import lock_instances
from inventory.instances.selection import visible_instance
from inventory.models import Instance, Node
from inventory.security import audit
from inventory.security.access import Access


@transaction.atomic
def retire_instance(*, access: Access, instance_id: str) -> None:
    """Once more changes nothing. Raises NotFound; Conflict `instance_busy`, by whatever operation holds it."""
    lock_inventory()
    instance = visible_instance(access, instance_id, with_retired=True)
    lock_instances([instance.pk])
    busy = in_progress.operations.problems([instance.pk])
    if busy:
        raise Conflict(problems=[replace(problem, attr="instance_id") for problem in busy])
    if Instance.objects.listed().filter(pk=instance.pk).update(retired_at=Now()):
        audit.record(
            actor=access.actor,
            action="instance.retire",
            object_kind="instance",
            object_id=instance.instance_id,
            service=instance.service.name,
        )


@transaction.atomic
def retire_node(*, access: Access, name: str) -> None:
    """The same of a node. Raises Forbidden to who is limited to services; Conflict `node_in_use`, naming each instance."""
    if access.services is not None:
        raise Forbidden(_("Who is limited to some services can't retire nodes."), code="limited_to_services")
    lock_inventory()
    node = Node.objects.filter(name=name).first()
    if node is None:
        raise NotFound(_("There is no node '%(name)s'.") % {"name": name}, code="node_not_found", attr="name")
    used = [_in_use(node, instance) for instance in node.instances.listed().select_related("service")]
    if used:
        raise Conflict(problems=used)
    if Node.objects.listed().filter(pk=node.pk).update(retired_at=Now()):
        audit.record(actor=access.actor, action="node.retire", object_kind="node", object_id=node.name)


def _in_use(node: Node, instance: Instance) -> Problem:
    return Problem(
        code="node_in_use",
        detail=_(
            "Instance '%(instance)s' of service '%(service)s' is on node '%(node)s'. "
            "Retire it, or move it to another node, first."
        )
        % {"instance": instance.instance_id, "service": instance.service.name, "node": node.name},
        attr="name",
        facts={"instance_id": instance.instance_id},
    )
