"""What an inventory file may not ask for: checked over the whole inventory as it would be afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from inventory.editing.file.plan import Plan, Planned
from inventory.editing.file.read import Document, Entry
from inventory.editing.relocation import MOVE_FIELDS, NODE_PLACE_FIELDS, lock_and_find_busy
from inventory.models import Instance, Node
from inventory.placement import Overlap, Place, Root, overlaps, place_of


def check(plan: Plan) -> None:
    """Complain of every fault to the plan's document."""
    _check_values(plan)
    _check_roots(plan)
    _check_moves(plan)


def _check_values(plan: Plan) -> None:
    """By the models' own rules, for the keys that the file gives."""
    for planned in plan.all():
        given = set(planned.entry.values) - {"service", "node"}
        others = {each.name for each in planned.row._meta.fields} - given
        _collect(plan.document, planned.entry, planned.row.clean_fields, exclude=others)
        if planned.entry.section != "instances":
            _collect(plan.document, planned.entry, planned.row.clean)


def _collect(document: Document, entry: Entry, check: Any, **arguments: Any) -> None:
    try:
        check(**arguments)
    except ValidationError as error:
        for key, messages in error.message_dict.items():
            was_told = key in entry.lines and key not in entry.values
            for message in () if was_told else messages:
                document.complain_of(entry, message, key=key)


def _check_roots(plan: Plan) -> None:
    """Over the whole inventory as it would be afterwards; what the file has no part in is not its fault."""
    places = _places(plan)
    for overlap in overlaps(_roots(plan, places)):
        entry = _entry_at_fault(plan, overlap)
        if entry is None:
            continue
        key = "deploy_root" if entry.section == "instances" else None
        plan.document.complain_of(entry, _overlap_text(overlap, entry), key=key, code="deploy_root_taken")


def _places(plan: Plan) -> dict[str, Place]:
    values = Node.objects.values_list("name", "transport", "host", "ssh_port")
    places = {name: place_of(transport=kind, host=host, ssh_port=port) for name, kind, host, port in values}
    for name, planned in plan.nodes.items():
        node: Node = planned.row
        places[name] = place_of(transport=node.transport, host=node.host, ssh_port=node.ssh_port)
    return places


def _roots(plan: Plan, places: Mapping[str, Place]) -> Iterable[Root]:
    kept = Instance.objects.values_list("instance_id", "node__name", "deploy_root")
    for instance_id, node_name, path in kept:
        if instance_id not in plan.instances:
            yield Root(place=places[node_name], path=path, instance_id=instance_id)
    for instance_id, planned in plan.instances.items():
        node = str(planned.entry.values.get("node", ""))
        root = str(planned.entry.values.get("deploy_root", ""))
        if node in places and root:
            yield Root(place=places[node], path=root, instance_id=instance_id)


def _entry_at_fault(plan: Plan, overlap: Overlap) -> Entry | None:
    for root in (overlap.inner, overlap.outer):
        if root.instance_id in plan.instances:
            return plan.instances[root.instance_id].entry
    moved = {name for name, planned in plan.nodes.items() if not NODE_PLACE_FIELDS.isdisjoint(planned.changed)}
    pair = (overlap.inner.instance_id, overlap.outer.instance_id)
    node = Node.objects.filter(name__in=moved, instances__instance_id__in=pair).first()
    return plan.nodes[node.name].entry if node else None


def _overlap_text(overlap: Overlap, entry: Entry) -> str:
    inner, outer = overlap.inner, overlap.outer
    if entry.name == outer.instance_id:
        return _("%(other)s's root %(path)s lies inside it") % {"other": inner.instance_id, "path": inner.path}
    if inner.path == outer.path:
        return _("%(path)s is the root of %(other)s already") % {"path": inner.path, "other": outer.instance_id}
    return _("%(path)s lies inside %(outer)s, the root of %(other)s") % {
        "path": inner.path,
        "outer": outer.path,
        "other": outer.instance_id,
    }


def _check_moves(plan: Plan) -> None:
    plan.moved = [each for each in plan.instances.values() if not MOVE_FIELDS.isdisjoint(each.changed)]
    busy = lock_and_find_busy(planned.row.pk for planned in plan.moved)
    for planned in plan.moved:
        if planned.row.pk in busy:
            detail = _("can't be moved while %(operation)s works on it") % {"operation": busy[planned.row.pk]}
            plan.document.complain_of(planned.entry, detail, code="instance_busy")
    for planned in plan.nodes.values():
        if planned.before is not None and not NODE_PLACE_FIELDS.isdisjoint(planned.changed):
            _check_node_move(plan.document, planned)


def _check_node_move(document: Document, planned: Planned) -> None:
    busy = lock_and_find_busy(planned.row.instances.values_list("pk", flat=True))
    if busy:
        detail = _("can't be moved while %(operation)s works on an instance of it")
        document.complain_of(planned.entry, detail % {"operation": next(iter(busy.values()))}, code="node_busy")
