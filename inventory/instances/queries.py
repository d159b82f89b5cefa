"""What runs where, as the API answers it. Few queries each, whose number does not grow with the fleet."""

from __future__ import annotations

from collections import Counter
from typing import Any

from inventory.drift import Drift
from inventory.instances import in_progress
from inventory.instances.selection import visible_instance, visible_service
from inventory.models import Instance, RunStatus, Service, StatusChange
from inventory.security.access import Access
from inventory.wire.wire_time import WireTime

Payload = dict[str, Any]
VERSIONS = ("running_version", "expected_version", "process_version")
_DOING = {"deploy": RunStatus.DEPLOYING.value, "rollback": RunStatus.ROLLING_BACK.value}


def service_versions(access: Access, service_name: str) -> Payload:
    """CONTRACT.md, "Versions and instances": the version and run status of every instance, in natural order."""
    service = visible_service(access, service_name)
    at_work = _at_work(service)
    rows = (
        Instance.objects.listed()
        .filter(service=service)
        .order_by("natural_key")
        .values_list("pk", "instance_id", "run_status", WireTime("changed_at"), *VERSIONS)
    )
    instances = [
        {
            "instance_id": instance_id,
            "version": version or None,
            "status": at_work.get(pk, run_status),
            "last_updated": changed_at,
            **versions_beside(version, *others),
        }
        for pk, instance_id, run_status, changed_at, version, *others in rows
    ]
    return {"service": service.name, "instances": instances, "version_summary": _summary(instances)}


def _at_work(service: Service) -> dict[int, str]:
    """What is being done to those of the service's instances that an unfinished operation holds."""
    held = in_progress.operations.holders(service=service.pk)
    return {pk: _DOING[holder.kind] for pk, holder in held.items()}


def _summary(instances: list[Payload]) -> dict[str, int]:
    """How many instances run each version, the most frequent first; those that run nothing known are left out."""
    versions = Counter(instance["version"] for instance in instances if instance["version"] is not None)
    return dict(versions.most_common())


def service_instances(access: Access, service_name: str) -> Payload:
    service = visible_service(access, service_name)
    rows = (
        Instance.objects.listed()
        .filter(service=service)
        .order_by("natural_key")
        .values_list("instance_id", "node__host", "port", "health", *VERSIONS)
    )
    instances = [
        {
            "instance_id": instance_id,
            "host": host,
            "port": port,
            "status": health,
            "version": version or None,
            **versions_beside(version, *others),
        }
        for instance_id, host, port, health, version, *others in rows
    ]
    return {"service": service.name, "instances": instances, "total": len(instances)}


def versions_beside(running: str, expected: str, process: str) -> Payload:
    """What an answer says beside the version that an instance's link leads to."""
    return {
        "expected_version": expected or None,
        "process_version": process or None,
        "drift": Drift.of(running=running, expected=expected, process=process),
    }


def instance_history(access: Access, instance_id: str, *, cursor: int | None, limit: int) -> Payload:
    """An instance's changes of version, status and health, newest first."""
    instance = visible_instance(access, instance_id, with_retired=True)
    changes = StatusChange.objects.filter(instance=instance).order_by("-pk")
    if cursor is not None:
        changes = changes.filter(pk__lt=cursor)
    page = list(changes[: limit + 1])
    return {
        "instance_id": instance.instance_id,
        "service": instance.service.name,
        "changes": [_change(change) for change in page[:limit]],
        "next": next_cursor([change.pk for change in page], limit),
    }


def next_cursor(keys: list[int], limit: int) -> str | None:
    """keys: of the rows of a page and, if there are more, of the one after it."""
    return str(keys[limit - 1]) if len(keys) > limit else None


def _change(change: StatusChange) -> Payload:
    return {
        "at": change.at,
        "field": change.field,
        "old": change.old,
        "new": change.new,
        "operation": change.operation_name or None,
        "attempt": change.attempt if change.operation_name else None,
        "by": change.actor_name,
        "by_kind": change.actor_kind,
        "note": change.note,
    }


def instance_state(instance: Instance) -> Payload:
    """What is recorded of one instance: the answer to a report."""
    return {
        "instance_id": instance.instance_id,
        "version": instance.running_version or None,
        "status": instance.run_status,
        "health": instance.health,
    }
