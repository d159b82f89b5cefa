"""What an instance says of itself (CONTRACT.md, `POST /v1/instance/{instance_id}/report`)."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models.functions import Now

from inventory.instances.facts import change
from inventory.instances.held import being_changed
from inventory.instances.locks import lock_instances
from inventory.instances.selection import visible_instance
from inventory.models import Instance
from inventory.security.access import Access


def record_report(*, access: Access, instance_id: str, report: Mapping[str, str]) -> Instance:
    """Keep a report of any of version, status and health, all of them valid. Raises NotFound.

    What is reported while an operation works on the instance is kept as reported_*, but what runs is the operation's
    to say: it would be told the old version just before the switch, and the new one before the restart is judged.
    Health is nobody else's to say, so that it always counts.
    """
    found = visible_instance(access, instance_id)
    with transaction.atomic():
        lock_instances([found.pk])
        instance = Instance.objects.get(pk=found.pk)
        values = {}
        if "health" in report:
            values["health"] = report["health"]
            instance.health_at = Now()
        if not being_changed([instance.pk]):
            values |= _what_runs(instance, report)
        rows = change(instance, actor=access.actor, note="reported", **values)
        _keep_words(instance, report)
        instance.save(update_fields=_FIELDS)
        for row in rows:
            row.save(force_insert=True)
    instance.refresh_from_db()
    return instance


_FIELDS = (
    "running_version",
    "running_release",
    "running_sha256",
    "run_status",
    "health",
    "health_at",
    "changed_at",
    "reported_version",
    "reported_status",
    "reported_at",
)


def _what_runs(instance: Instance, report: Mapping[str, str]) -> dict[str, str]:
    values = {}
    if "status" in report:
        values["run_status"] = report["status"]
    version = report.get("version", instance.running_version)
    if version != instance.running_version:
        values["running_version"] = version
        # Which of a mutable version's folders it is, only the node's link tells: the next sync reads it.
        instance.running_release, instance.running_sha256 = version, ""
    return values


def _keep_words(instance: Instance, report: Mapping[str, str]) -> None:
    instance.reported_at = Now()
    instance.reported_version = report.get("version", instance.reported_version)
    instance.reported_status = report.get("status", instance.reported_status)
