"""A drive's lease: the row that says it is alive, judged by the database's clock alone."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from deploys.models import Lease
from deploys.queue.lazy_commit import lazy_commit

LEASE_SECONDS = 6
HEARTBEAT_SECONDS = 2

LEASE = timedelta(seconds=LEASE_SECONDS)


def this_worker() -> str:
    """The name of the supervisor this process works under; outside of one, a name of its own."""
    return os.environ.get("RELEASE_WORKER_NAME") or f"{socket.gethostname()}:{os.getpid()}"


def create_lease(worker_name: str, queue: str) -> Lease:
    """Each claim under it commits after it, and takes it to the disk."""
    with lazy_commit():
        return Lease.objects.create(worker=worker_name, queue=queue, expires_at=Now() + LEASE)


def renew(lease_id: int) -> bool:
    """False when the row is gone: somebody has handed its work on."""
    return Lease.objects.filter(pk=lease_id).update(expires_at=Now() + LEASE) == 1


def live_leases(*, worker_name: str, queue: str) -> QuerySet[Lease]:
    return Lease.objects.filter(worker=worker_name, queue=queue, expires_at__gt=Now())
