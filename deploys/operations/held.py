"""Whether a service is held, and how that is said to whoever meets it (CONTRACT.md, "Hold")."""

from __future__ import annotations

from collections.abc import Collection

from django.utils.translation import gettext as _

from deploys.models import Hold, Operation
from deploys.states import Kind
from deploys.told import Telling, Told
from deploys.told import marked as gettext_noop
from inventory.errors import Problem
from inventory.models import Service
from inventory.wire.wire_time import wire_time


def active_hold(service: Service) -> Hold | None:
    return Hold.objects.active().filter(service=service).first()


def hold_problems(service: Service) -> list[Problem]:
    """A problem `service_held` while it is. For an answer that stays true the caller keeps `locks.lock_for_deploy`."""
    hold = active_hold(service)
    if hold is None:
        return []
    told = (
        _("Service '%(service)s' is held by %(by)s since %(since)s, until %(until)s: %(reason)s")
        if hold.until
        else _("Service '%(service)s' is held by %(by)s since %(since)s: %(reason)s")
    )
    detail = told % {
        "service": service.name,
        "by": hold.held_by,
        "since": wire_time(hold.held_at),
        "until": hold.until and wire_time(hold.until),
        "reason": hold.reason,
    }
    detail = " ".join((detail, _("(Rollbacks pass. Deploy again when the hold is released.)")))
    return [Problem(code="service_held", detail=detail, attr="service", facts=_facts(hold))]


def _facts(hold: Hold) -> dict[str, object]:
    return {
        "held_by": hold.held_by,
        "held_at": wire_time(hold.held_at),
        "until": wire_time(hold.until) if hold.until else None,
        "reason": hold.reason,
    }


def holds_of_deploys(operation_ids: Collection[int]) -> dict[int, Hold]:
    """The active hold by operation, of those of these operations that are deploys of a held service."""
    deploys = Operation.objects.filter(pk__in=list(operation_ids), kind=Kind.DEPLOY)
    service_of = dict(deploys.values_list("pk", "service_id"))
    holds = {hold.service_id: hold for hold in Hold.objects.active().filter(service__in=service_of.values())}
    return {pk: holds[service] for pk, service in service_of.items() if service in holds}


def superseded_by(hold: Hold, *, has_begun: bool) -> Telling:
    """has_begun: its worker requeues it, before the switch."""
    text = gettext_noop("Superseded before it had begun, for %(who)s holds the service: %(reason)s")
    if has_begun:
        text = gettext_noop(
            "Superseded when its worker requeued it, before the switch, for %(who)s holds the service: %(reason)s"
        )
    return (Told(text, {"who": hold.held_by, "reason": hold.reason}),)
