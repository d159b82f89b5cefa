"""Rules that span rows, for edits of one row or a few: forms, inlines, CSV. (The importer checks whole files.)"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _

from inventory.editing.relocation import MOVE_FIELDS, NODE_PLACE_FIELDS, lock_and_find_busy
from inventory.instances import in_progress
from inventory.models import Instance, Node, Service
from inventory.placement import Overlap, Place, Root, overlaps, place_of


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An instance as it is about to be saved; pk None for a new one."""

    pk: int | None
    instance_id: str
    node: Node
    deploy_root: str

    @property
    def root(self) -> Root:
        return Root(place=_place(self.node), path=self.deploy_root, instance_id=self.instance_id)


def check_roots(placed: Sequence[Placed]) -> None:
    """Raise ValidationError when one of these roots is, holds or lies inside another instance's."""
    mine = {each.root for each in placed}
    for overlap in overlaps([*mine, *_neighbours(placed)]):
        if overlap.inner in mine or overlap.outer in mine:
            raise ValidationError(_text(overlap), code="deploy_root_taken")


def _neighbours(placed: Sequence[Placed]) -> Iterable[Root]:
    """The stored roots that could be in the way: at the same place, above or below one of these."""
    own = [each.pk for each in placed if each.pk is not None]
    for place in {each.root.place for each in placed}:
        nodes = Node.objects.filter(pk__in=[node.pk for node in _nodes_at(place)])
        near = Q()
        for each in placed:
            if each.root.place == place:
                near |= Q(deploy_root__in=_above(each.deploy_root)) | Q(deploy_root__startswith=f"{each.deploy_root}/")
        rows = Instance.objects.filter(near, node__in=nodes).exclude(pk__in=own)
        for instance_id, path in rows.values_list("instance_id", "deploy_root"):
            yield Root(place=place, path=path, instance_id=instance_id)


def _place(node: Node) -> Place:
    return place_of(transport=node.transport, host=node.host, ssh_port=node.ssh_port)


def _nodes_at(place: Place) -> list[Node]:
    nodes = Node.objects.filter(transport=place[0])
    if place[0] != "local":
        nodes = nodes.filter(ssh_port=place[2], host__istartswith=place[1])
    return [node for node in nodes if _place(node) == place]


def _above(path: str) -> list[str]:
    """The path itself and every folder above it."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]


def _text(overlap: Overlap) -> str:
    inner, outer = overlap.inner, overlap.outer
    if inner.path == outer.path:
        return _("%(path)s is the deploy root of both %(one)s and %(other)s.") % {
            "path": inner.path,
            "one": inner.instance_id,
            "other": outer.instance_id,
        }
    return _("%(inner)s's deploy root %(path)s lies inside %(above)s, that of %(outer)s.") % {
        "inner": inner.instance_id,
        "path": inner.path,
        "above": outer.path,
        "outer": outer.instance_id,
    }


def check_instance_move(pk: int | None, changed: Iterable[str]) -> None:
    """Raise ValidationError when a move would pull an instance away from under an operation."""
    if pk is None or MOVE_FIELDS.isdisjoint(changed):
        return
    if operation := lock_and_find_busy([pk]).get(pk):
        raise ValidationError(
            _("It can't be moved or renamed while %(operation)s works on it. Wait for it, or cancel it."),
            code="instance_busy",
            params={"operation": operation},
        )


def check_node_move(node: Node, changed: Iterable[str]) -> None:
    """The same for all instances of a node; and they must have room at the node's new place."""
    if node.pk is None or NODE_PLACE_FIELDS.isdisjoint(changed):
        return
    busy = lock_and_find_busy(node.instances.values_list("pk", flat=True))
    if busy:
        raise ValidationError(
            _("It can't be moved while %(operation)s works on an instance of it. Wait for it, or cancel it."),
            code="node_busy",
            params={"operation": next(iter(busy.values()))},
        )
    rows = node.instances.values_list("pk", "instance_id", "deploy_root")
    check_roots([Placed(pk=pk, instance_id=name, node=node, deploy_root=root) for pk, name, root in rows])


def check_service_rename(service: Service, changed: Iterable[str]) -> None:
    """A service's name is in the environment of the commands that its operations run."""
    if service.pk is None or "name" not in changed:
        return
    if in_progress.operations.holders(service=service.pk):
        raise ValidationError(
            {"name": ValidationError(_("It can't be renamed while an operation of it runs."), code="service_busy")}
        )
