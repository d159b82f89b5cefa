"""Tells of instances that drift (`inventory.instances.drift`): one event for those of a service that were seen together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from deploys.events import outbox
from deploys.events.outbox import Event, Payload
from deploys.webhook_models import EventType
from inventory.instances.drift import Listener
from inventory.instances.queries import versions_beside
from inventory.models import Instance, Service


class DriftEvents(Listener):
    def drifted(self, instances: Sequence[int]) -> None:
        if not outbox.is_wanted(EventType.INSTANCE_DRIFTED):
            return
        by_service: dict[Service, list[Instance]] = defaultdict(list)
        found = Instance.objects.filter(pk__in=instances).select_related("service").order_by("natural_key")
        for instance in found:
            by_service[instance.service].append(instance)
        outbox.emit(EventType.INSTANCE_DRIFTED, [_event(service, seen) for service, seen in by_service.items()])


def _event(service: Service, instances: Sequence[Instance]) -> Event:
    return Event(service_id=service.pk, subject=f"service {service}", data=partial(_payload, service, instances))


def _payload(service: Service, instances: Sequence[Instance]) -> Payload:
    """As in the answer about a service's versions."""
    return {"service": service.name, "instances": [_instance(instance) for instance in instances]}


def _instance(instance: Instance) -> Payload:
    return {
        "instance_id": instance.instance_id,
        "version": instance.running_version or None,
        "status": instance.run_status,
        "last_updated": instance.changed_at,
        **versions_beside(instance.running_version, instance.expected_version, instance.process_version),
    }
