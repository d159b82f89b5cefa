"""What an instance says of itself (CONTRACT.md, `POST /v1/instance/{instance_id}/report`)."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models.functions import Now

from inventory.instances import in_progress
from inventory.instances.facts import Change, Effect, record
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
        told = dict(report)
        if _is_at_work(instance):
            told = {key: value for key, value in told.items() if key == "health"}
        effect = _effect(instance, told)
        record([Change(instance_id=instance.pk, actor=access.actor, note="reported", effect=effect)])
        _keep_words(instance, report)
    instance.refresh_from_db()
    return instance


def _is_at_work(instance: Instance) -> bool:
    holder = in_progress.operations.holders(instances=[instance.pk]).get(instance.pk)
    return holder is not None and holder.has_begun


def _effect(instance: Instance, told: Mapping[str, str]) -> Effect:
    """Of the same version again nothing else is known. Which folder another one is in, the next sync reads."""
    version = told.get("version")
    is_another = version is not None and version != instance.running_version
    return Effect(
        version=version if is_another else None,
        process="" if is_another else None,
        run_status=told.get("status"),
        health=told.get("health"),
    )


def _keep_words(instance: Instance, report: Mapping[str, str]) -> None:
    instance.reported_at = Now()
    instance.reported_version = report.get("version", instance.reported_version)
    instance.reported_status = report.get("status", instance.reported_status)
    if "health" in report:
        instance.health_at = Now()
    instance.save(update_fields=("reported_at", "reported_version", "reported_status", "health_at"))
