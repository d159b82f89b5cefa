"""When a service is read from its nodes: one sync at a time per service, asked for by people or by the clock."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django_q.tasks import async_task

from inventory.instances.selection import visible_service
from inventory.models import Service
from inventory.security import audit
from inventory.security.access import Access

# Where syncs wait for a worker. The queues are another app's: `deploys` names the one that no long deploy holds up.
queue = ""
# Messages may be lost, and workers die: after these a service may be enqueued, or begun, anew.
_LOST_AFTER = timedelta(minutes=2)
_DEAD_AFTER = timedelta(minutes=6)
_AT_ONCE = 20

_NOT_QUEUED = Q(sync_queued_at__isnull=True) | Q(sync_queued_at__lt=Now() - _LOST_AFTER)
_NOT_RUNNING = Q(sync_started_at__isnull=True) | Q(sync_started_at__lt=Now() - _DEAD_AFTER)


def request_sync(*, access: Access, service_name: str) -> Service:
    """Have the service read from its nodes soon; asking again before it has begun adds nothing. Raises NotFound."""
    service = visible_service(access, service_name)
    with transaction.atomic():
        _enqueue(service.pk)
        audit.record(
            actor=access.actor,
            action="service.sync",
            object_kind="service",
            object_id=service.name,
            service=service.name,
        )
    return service


def due_services() -> QuerySet[Service]:
    """Those whose regular sync is due, neither waiting nor in progress, the longest overdue first."""
    period = timedelta(seconds=settings.SYNC_SECONDS)
    overdue = Q(synced_at__isnull=True) | Q(synced_at__lt=Now() - period)
    return Service.objects.filter(overdue, _NOT_QUEUED, _NOT_RUNNING, sync_enabled=True).order_by("synced_at")


def enqueue_due_syncs() -> int:
    """Called every few seconds by every worker host; each service is enqueued by one of them. Returns how many."""
    with transaction.atomic():
        due = due_services().select_for_update(no_key=True, skip_locked=True)[:_AT_ONCE]
        return sum(_enqueue(service.pk) for service in due)


def _enqueue(service_id: int) -> bool:
    """The mark and the message are committed together."""
    is_marked = Service.objects.filter(_NOT_QUEUED, pk=service_id).update(sync_queued_at=Now())
    if is_marked:
        async_task("inventory.tasks.sync_service", service_id, cluster=queue)
    return bool(is_marked)


def begin(service_id: int) -> bool:
    """False when a sync of the service is in progress; its mark stays then, for `end` to see."""
    begun = Service.objects.filter(_NOT_RUNNING, pk=service_id).update(sync_started_at=Now(), sync_queued_at=None)
    return bool(begun)


@transaction.atomic
def end(service_id: int) -> None:
    """Not called when a sync dies: then its mark keeps the next one off for a while."""
    Service.objects.filter(pk=service_id).update(sync_started_at=None, synced_at=Now())
    if Service.objects.filter(pk=service_id, sync_queued_at__isnull=False).update(sync_queued_at=None):
        _enqueue(service_id)
