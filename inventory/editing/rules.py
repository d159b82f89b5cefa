"""The rules that span rows, over the inventory as it would be after some edits: the same for file, page and HTTP.

To be asked under `lock_inventory`, in the transaction that writes: otherwise another edit may come between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from django.utils.translation import gettext as _

from inventory.editing.relocation import MOVE_FIELDS, NODE_PLACE_FIELDS, lock_and_find_busy
from inventory.instances import in_progress
from inventory.models import Instance, JumpHost, Node, Service
from inventory.placement import Overlap, Place, Root, overlaps, place_of

Row = Service | JumpHost | Node | Instance


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """A row as it would be saved. changed: the fields in which it differs from the stored row, if there is one."""

    row: Row
    changed: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What forbids an edit. field: the one of the row's fields that it is about, or None.

    instances: the ids that its text names; they may be of services that not every caller may see.
    """

    edit: Edit
    code: str
    text: str
    field: str | None = None
    facts: Mapping[str, Any] = dataclass_field(default_factory=dict)
    instances: frozenset[str] = frozenset()

    @property
    def is_for_now(self) -> bool:
        """Only an unfinished operation is in the way: later the same edit may be fine."""
        return self.code in ("instance_busy", "node_busy", "service_busy")


def faults(edits: Collection[Edit]) -> Iterator[Fault]:
    """Everything that forbids these edits, made at once; not what was wrong before and has no part in them."""
    yield from _roots_in_the_way(edits)
    yield from _moved_while_in_progress(edits)
    yield from _renamed_while_in_progress(edits)
    yield from _jumps_in_a_circle(edits)


def _touching(fields: frozenset[str], kind: type[Row], edits: Collection[Edit]) -> dict[int, Edit]:
    """The edits that change one of these fields of a stored row of this kind, by its key."""
    rows = {edit.row.pk: edit for edit in edits if isinstance(edit.row, kind) and not fields.isdisjoint(edit.changed)}
    return {pk: edit for pk, edit in rows.items() if pk is not None}


def _roots_in_the_way(edits: Collection[Edit]) -> Iterator[Fault]:
    """No deploy root is, holds or lies inside another one of the same place."""
    placed = {root: edit for edit in edits if (root := _root(edit.row)) is not None}
    moved = _touching(NODE_PLACE_FIELDS, Node, edits)
    # Of each root, the edit that brings it where it is.
    by: dict[Root, Edit | None] = {root: moved.get(node) for root, node in _stored_roots(edits, placed, moved)}
    by.update(placed)
    for overlap in overlaps(by):
        causes = [edit for edit in (by[overlap.inner], by[overlap.outer]) if edit is not None]
        if causes:
            edit = min(causes, key=lambda edit: isinstance(edit.row, Node))
            field = None if isinstance(edit.row, Node) else "deploy_root"
            names = frozenset({overlap.inner.instance_id, overlap.outer.instance_id})
            text = _overlap_text(overlap)
            yield Fault(edit=edit, code="deploy_root_taken", text=text, field=field, instances=names)


def _root(row: Row) -> Root | None:
    """Where an instance is to live; None while that is not known."""
    node = getattr(row, "node", None)
    if not isinstance(row, Instance) or node is None or not row.deploy_root:
        return None
    return Root(place=_place(node), path=row.deploy_root, instance_id=row.instance_id)


def _stored_roots(edits: Collection[Edit], placed: Iterable[Root], moved: Iterable[int]) -> Iterator[tuple[Root, int]]:
    """Of instances that are not edited, at the places of these roots and nodes; each with its node's key."""
    nodes = {row.pk: row for edit in edits if isinstance(row := edit.row, Node)}
    edited = {edit.row.pk for edit in edits if isinstance(edit.row, Instance)}
    places = {root.place for root in placed} | {_place(nodes[pk]) for pk in moved}
    stored = Node.objects.only("transport", "host", "ssh_port", "jump", "jump_socket") if places else ()
    at = {node.pk: place for node in stored if (place := _place(nodes.get(node.pk, node))) in places}
    rows = Instance.objects.listed().filter(node__in=at).values_list("pk", "instance_id", "node_id", "deploy_root")
    for pk, instance_id, node_pk, path in rows:
        if pk not in edited:
            yield Root(place=at[node_pk], path=path, instance_id=instance_id), node_pk


def _place(node: Node) -> Place:
    return place_of(
        transport=node.transport,
        host=node.host,
        ssh_port=node.ssh_port,
        jump="" if node.jump_id is None and node.jump is None else _key(node.jump_id, node.jump),
        socket=node.jump_socket,
    )


def _key(pk: int | None, row: JumpHost | None) -> str:
    """Of a jump host, which has no number yet when it comes with the same file."""
    return str(pk) if pk is not None else f"new {row.name if row else ''}"


def _overlap_text(overlap: Overlap) -> str:
    inner, outer = overlap.inner, overlap.outer
    names = {"inner": inner.instance_id, "path": inner.path, "above": outer.path, "outer": outer.instance_id}
    if inner.path == outer.path:
        return _("%(path)s is the deploy root of both %(outer)s and %(inner)s.") % names
    return _("%(inner)s's deploy root %(path)s lies inside %(above)s, that of %(outer)s.") % names


def _moved_while_in_progress(edits: Collection[Edit]) -> Iterator[Fault]:
    """An operation finds its instance, and its instance's node, where they were when it began."""
    instances = _touching(MOVE_FIELDS, Instance, edits)
    nodes = _touching(NODE_PLACE_FIELDS, Node, edits)
    on_nodes = dict(Instance.objects.filter(node__in=nodes).order_by().values_list("pk", "node"))
    # All that will be written at once, as everybody locks instances in one order.
    changed = [edit.row.pk for edit in edits if isinstance(edit.row, Instance) and edit.changed and edit.row.pk]
    busy = lock_and_find_busy([*changed, *on_nodes])
    facts = {problem.facts["instance_id"]: problem.facts for problem in in_progress.operations.problems(instances)}
    for pk in instances.keys() & busy.keys():
        text = _("It can't be moved or renamed while %(operation)s is in progress on it. Wait for it, or cancel it.")
        edit = instances[pk]
        told = facts.get(str(edit.row), {})
        yield Fault(edit=edit, code="instance_busy", text=text % {"operation": busy[pk]}, facts=told)
    for node, operation in {on_nodes[pk]: busy[pk] for pk in on_nodes.keys() & busy.keys()}.items():
        text = _(
            "It can't be moved while %(operation)s is in progress on an instance of it. Wait for it, or cancel it."
        )
        yield Fault(edit=nodes[node], code="node_busy", text=text % {"operation": operation})


def _renamed_while_in_progress(edits: Collection[Edit]) -> Iterator[Fault]:
    """A service's name is in the environment of the commands that its operations run."""
    for pk, edit in _touching(frozenset({"name"}), Service, edits).items():
        if in_progress.operations.holders(service=pk):
            text = _("It can't be renamed while an operation on it is in progress.")
            yield Fault(edit=edit, code="service_busy", text=text, field="name")


def _jumps_in_a_circle(edits: Collection[Edit]) -> Iterator[Fault]:
    """A jump host is not reached through itself, nor through one that is reached through it."""
    edited = {_jump_key(edit.row): edit for edit in edits if isinstance(edit.row, JumpHost)}
    if not edited:
        return
    hosts = {_jump_key(row): row for row in JumpHost.objects.select_related("jump")} | {
        key: _row(edit) for key, edit in edited.items()
    }
    for key, edit in edited.items():
        way = list(_way(key, hosts))
        if len(way) > 1 and way[-1] == key:
            names = [hosts[each].name for each in way]
            text = _("It would be reached through itself: %(way)s.") % {"way": " → ".join(names)}
            yield Fault(edit=edit, code="jump_circle", text=text, field="jump")


def _row(edit: Edit) -> JumpHost:
    assert isinstance(edit.row, JumpHost)
    return edit.row


def _jump_key(row: JumpHost) -> str:
    return _key(row.pk, row)


def _way(start: str, hosts: Mapping[str, JumpHost]) -> Iterator[str]:
    """From one jump host to those through which it is reached, up to the first that comes again."""
    seen: set[str] = set()
    at: str | None = start
    while at is not None:
        yield at
        if at in seen:
            return
        seen.add(at)
        jump = hosts[at].jump if at in hosts else None
        at = None if jump is None else _jump_key(jump)
