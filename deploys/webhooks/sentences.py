"""The one sentence that tells a person of an event, in a webhook's language. The only place that knows how it is made."""

from __future__ import annotations

from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deploys.operations.fates import TargetFacts, fates
from deploys.operations.sentences import OperationFacts, operation_details, operation_sentence
from deploys.states import Kind, OperationStatus, Until
from deploys.told import joined
from deploys.webhook_models import EventType
from inventory.drift import Drift

_MOST_NAMED = 10


def sentence(event: EventType, data: dict[str, Any], language: str) -> str:
    """data: the event's, as its standard body has it."""
    with translation.override(language):
        match event:
            case EventType.OPERATION_FINISHED:
                return _of_operation(data)
            case EventType.INSTANCE_DRIFTED:
                return _of_drift(data)
            case EventType.SERVICE_HELD:
                return _of_hold(data)
            case EventType.SERVICE_RELEASED:
                return _("%(service)s was released by %(released_by)s: deploys are taken again") % data


def _of_operation(data: dict[str, Any]) -> str:
    kind = Kind.ROLLBACK if "rollback_id" in data else Kind.DEPLOY
    what = {
        "service": data["service"],
        "kind": kind.label,
        "id": data[f"{kind}_id"],
        "by": data["requested_by"],
        "how": _outcome(kind, data),
    }
    return _("%(service)s, %(kind)s %(id)s by %(by)s: %(how)s") % what


def _outcome(kind: Kind, data: dict[str, Any]) -> str:
    """As its page says it. Pages don't count superseded ones as cancelled; answers do."""
    progress: dict[str, int] = {"in_progress": 0, "pending": 0, "failed": 0, **data["progress"]}
    facts = OperationFacts(
        kind=kind,
        until=data.get("until", Until.SWITCHED),
        version=data["version"],
        state=data["status"],
        total=progress["total"],
        completed=progress["completed"],
        failed=progress["failed"],
        cancelled=progress["cancelled"] - progress["superseded"],
        superseded=progress["superseded"],
        in_progress=progress["in_progress"],
        pending=progress["pending"] - progress["in_progress"],
        fates=fates(_target(each) for each in data.get("instances") or ()),
    )
    if facts.state == OperationStatus.COMPLETED or not facts.fates:
        return operation_sentence(facts)
    return joined([_("%(sentence)s.") % {"sentence": operation_sentence(facts)}, operation_details(facts)])


def _target(instance: dict[str, Any]) -> TargetFacts:
    return TargetFacts(
        status=instance["status"],
        step=instance["step"],
        reverted=instance["reverted"],
        code=(instance["error"] or {}).get("code", ""),
    )


def _of_drift(data: dict[str, Any]) -> str:
    instances = data["instances"]
    text = ngettext(
        "%(service)s: %(count)d instance does not run what is expected (%(instances)s)",
        "%(service)s: %(count)d instances do not run what is expected (%(instances)s)",
        len(instances),
    )
    named = [_one_drift(each) for each in instances[:_MOST_NAMED]]
    more = ["…"] if len(instances) > _MOST_NAMED else []
    return text % {"service": data["service"], "count": len(instances), "instances": "; ".join([*named, *more])}


def _one_drift(instance: dict[str, Any]) -> str:
    what = {
        "instance": instance["instance_id"],
        "version": instance["version"] or _("nothing known"),
        "expected": instance["expected_version"],
        "process": instance["process_version"],
    }
    if instance["drift"] == Drift.PROCESS:
        return _("%(instance)s: its process runs %(process)s, its link leads to %(version)s") % what
    return _("%(instance)s runs %(version)s instead of %(expected)s") % what


def _of_hold(data: dict[str, Any]) -> str:
    if data["until"]:
        return _("%(service)s is held by %(held_by)s until %(until)s: %(reason)s") % data
    return _("%(service)s is held by %(held_by)s: %(reason)s") % data
