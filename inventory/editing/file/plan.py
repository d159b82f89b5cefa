"""An inventory document's entries beside the rows that they make or change, and what forbids them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from inventory.editing.file.document import SECTIONS, Document, Entry
from inventory.editing.file.report import Change, Outcome, Row, shown
from inventory.editing.relocation import MOVE_FIELDS
from inventory.editing.rules import Edit, Fault, faults
from inventory.instances.selection import visible_nodes
from inventory.models import Instance, JumpHost, Node, Service
from inventory.security.access import Access

_KIND = {"services": "service", "jump_hosts": "jump_host", "nodes": "node", "instances": "instance"}
_REFERENCES = frozenset({"service", "node", "jump"})


@dataclass(kw_only=True)
class Planned:
    """One entry beside the row that it makes or changes. before: the row's values as they were, None for a new row."""

    entry: Entry
    row: Any
    before: Mapping[str, Any] | None

    @property
    def was_retired(self) -> bool:
        """Naming it brings it back."""
        return self.before is not None and self.before.get("retired_at") is not None

    @property
    def changed(self) -> tuple[str, ...]:
        if self.before is None:
            return ()
        keys = (*self.entry.values, "retired_at") if self.was_retired else self.entry.values
        return tuple(key for key in keys if getattr(self.row, key) != self.before[key])

    def report(self) -> Row:
        before = self.before or {}
        changes = tuple(
            Change(field=key, old=shown(key, before[key]), new=shown(key, getattr(self.row, key)))
            for key in self.changed
        )
        outcome = Outcome.CREATED if self.before is None else Outcome.UPDATED if changes else Outcome.UNCHANGED
        return Row(kind=_KIND[self.entry.section], name=self.entry.name, outcome=outcome, changes=changes)


@dataclass(kw_only=True)
class Plan:
    document: Document
    services: dict[str, Planned] = field(default_factory=dict)
    jump_hosts: dict[str, Planned] = field(default_factory=dict)
    nodes: dict[str, Planned] = field(default_factory=dict)
    instances: dict[str, Planned] = field(default_factory=dict)

    @property
    def moved(self) -> list[Planned]:
        """Stored instances that the document takes elsewhere, or brings back: what they run is to be read anew."""
        fields = MOVE_FIELDS | {"retired_at"}
        return [each for each in self.instances.values() if not fields.isdisjoint(each.changed)]

    def all(self) -> list[Planned]:
        return [each for rows in (self.services, self.jump_hosts, self.nodes, self.instances) for each in rows.values()]


def make_plan(document: Document, access: Access) -> Plan:
    """The document's entries beside the inventory's rows, unchecked; unknown and doubled names are complained of.

    Services and nodes that the caller may not see are taken for unknown; any other row may be planned (`limits`).
    """
    plan = Plan(document=document)
    plan.services = _merge(document, "services", access.visible(Service.objects.all(), "pk"))
    plan.jump_hosts = _merge(document, "jump_hosts", JumpHost.objects.select_related("jump"))
    plan.nodes = _merge(document, "nodes", Node.objects.select_related("jump"))
    _refer_to_jump_hosts(plan)
    plan.instances = _merge_instances(plan, access)
    return plan


def _merge(document: Document, section: str, existing: models.QuerySet[Any]) -> dict[str, Planned]:
    """Every entry that has a name, by name, with the row it is about."""
    key = "instance_id" if section == "instances" else "name"
    entries = _by_name(document, section)
    rows = {getattr(row, key): row for row in existing.filter(**{f"{key}__in": list(entries)})}
    merged = {}
    for name, entry in entries.items():
        row = rows.get(name)
        before = _values_of(row, section) if row is not None else None
        merged[name] = Planned(entry=entry, row=row or existing.model(), before=before)
        if merged[name].was_retired:
            merged[name].row.retired_at = None
        if section != "instances":
            _set_values(merged[name], {key: value for key, value in entry.values.items() if key not in _REFERENCES})
    return merged


def _values_of(row: Any, section: str) -> dict[str, Any]:
    keys = (*SECTIONS[section], "retired_at") if section in ("nodes", "instances") else SECTIONS[section]
    return {key: getattr(row, key) for key in keys}


def _refer_to_jump_hosts(plan: Plan) -> None:
    """'' is for none. One that is not there stands in for itself, so that nothing else is said of whoever names it."""
    through = [*plan.jump_hosts.values(), *plan.nodes.values()]
    known = _referable(plan.jump_hosts, JumpHost.objects.all(), through, "jump")
    for planned in through:
        name = str(planned.entry.values.get("jump", ""))
        if name and name not in known and name not in _declared(plan.document, "jump_hosts"):
            _complain_of_unknown(plan, planned, "jump", _("jump host"), name)
        if "jump" in planned.entry.values:
            planned.row.jump = (known.get(name) or JumpHost(name=name)) if name else None


def _by_name(document: Document, section: str) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for entry in document.entries[section]:
        if not entry.name:
            continue
        first = entries.setdefault(entry.name, entry)
        if first is not entry:
            detail = _("%(name)s is there already, %(place)s") % {"name": entry.name, "place": document.place_of(first)}
            document.complain_of(entry, detail, code="duplicate")
    return entries


def _merge_instances(plan: Plan, access: Access) -> dict[str, Planned]:
    merged = _merge(plan.document, "instances", Instance.objects.select_related("service", "node"))
    services = access.visible(Service.objects.all(), "pk")
    retired = set(Node.objects.exclude(retired_at=None).values_list("name", flat=True))
    references = {
        "service": _referable(plan.services, services, merged.values(), "service"),
        "node": _referable(plan.nodes, visible_nodes(access), merged.values(), "node"),
    }
    for planned in merged.values():
        values = dict(planned.entry.values)
        for key, known in references.items():
            name = values.pop(key, None)
            if name is None:
                continue
            if name in known:
                values[key] = known[str(name)]
            elif key == "node" and name in retired and access.services is None:
                detail = _("node %(name)r is retired; name it under nodes to bring it back") % {"name": name}
                plan.document.complain_of(planned.entry, detail, key=key, code="unknown_node")
            elif name not in _declared(plan.document, f"{key}s"):
                _complain_of_unknown(plan, planned, key, key, str(name))
        _set_values(planned, values)
    return merged


def _complain_of_unknown(plan: Plan, planned: Planned, key: str, kind: str, name: str) -> None:
    detail = _("there is no %(kind)s %(name)r, in this file or in the inventory") % {"kind": kind, "name": name}
    plan.document.complain_of(planned.entry, detail, key=key, code=f"unknown_{key}")


def _referable(
    in_file: Mapping[str, Planned], rows: models.QuerySet[Any], referring: Iterable[Planned], key: str
) -> dict[str, Any]:
    names = {str(planned.entry.values.get(key, "")) for planned in referring} - set(in_file)
    return {row.name: row for row in rows.filter(name__in=names)} | {
        name: planned.row for name, planned in in_file.items()
    }


def _declared(document: Document, section: str) -> set[str]:
    return {entry.name for entry in document.entries[section]}


def _set_values(planned: Planned, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        setattr(planned.row, key, value)


def check(plan: Plan, access: Access) -> None:
    """Complain of every fault to the plan's document."""
    _check_values(plan)
    edits = {Edit(row=planned.row, changed=planned.changed): planned.entry for planned in plan.all()}
    for fault in faults(edits):
        http_status = 409 if fault.is_for_now else 400
        plan.document.complain_of(
            edits[fault.edit],
            _text(fault, access),
            key=fault.field,
            code=fault.code,
            http_status=http_status,
            facts=fault.facts,
        )


def _text(fault: Fault, access: Access) -> str:
    """Without a trace of services that the caller may not see."""
    hidden = Instance.objects.filter(instance_id__in=fault.instances)
    if access.services is None or not hidden.exclude(service__in=access.services).exists():
        return fault.text
    return _("Another service's instance has this deploy root, or one around or inside it, on this machine.")


def _check_values(plan: Plan) -> None:
    """By the models' own rules, for the keys that the document gives; what stays as it is was looked at before."""
    for planned in plan.all():
        if planned.before is not None and not planned.changed:
            continue
        given = set(planned.entry.values) - _REFERENCES
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
