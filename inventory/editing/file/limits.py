"""What a caller that is limited to some services may bring in: those services' settings and instances, no commands."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from inventory.editing.file.document import SECTIONS
from inventory.editing.file.plan import Plan, Planned
from inventory.security.access import Access

_COMMANDS = frozenset(key for key in SECTIONS["services"] if key.endswith("_command"))


def check_limits(plan: Plan, access: Access) -> None:
    """Complain of every entry that is not the caller's to write. What they decide is where and what others run."""
    services = access.services
    if services is None:
        return
    for planned, key, detail in [*_of_machines(plan), *_of_services(plan), *_of_instances(plan, services)]:
        plan.document.complain_of(planned.entry, detail, key=key, code="limited_to_services", http_status=403)
    _leave_out_what_is_not_theirs(plan, services)


Refusal = tuple[Planned, str | None, str]


def _of_machines(plan: Plan) -> Iterator[Refusal]:
    for planned in (*plan.jump_hosts.values(), *plan.nodes.values()):
        yield planned, None, _("who is limited to some services can't create or change nodes and jump hosts")


def _of_services(plan: Plan) -> Iterator[Refusal]:
    for planned in plan.services.values():
        if planned.before is None:
            yield planned, None, _("who is limited to some services can't create another one")
        for key in sorted(_COMMANDS.intersection(planned.changed)):
            yield planned, key, _("who is limited to some services can't change commands")


def _of_instances(plan: Plan, services: frozenset[int]) -> Iterator[Refusal]:
    for planned in plan.instances.values():
        if _is_of_another(planned, services):
            yield planned, None, _("an instance of another service has this id")


def _is_of_another(planned: Planned, services: frozenset[int]) -> bool:
    return planned.before is not None and planned.before["service"].pk not in services


def _leave_out_what_is_not_theirs(plan: Plan, services: frozenset[int]) -> None:
    """So that no rule says anything of it."""
    plan.jump_hosts, plan.nodes = {}, {}
    plan.instances = {name: each for name, each in plan.instances.items() if not _is_of_another(each, services)}
