"""A work loop's lease and the sequence of fencing tokens: both judged by the database alone."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from deploys.models import Lease, Target
from deploys.queue.lazy_commit import lazy_commit
from deploys.states import TargetStatus

LEASE_SECONDS = 6
HEARTBEAT_SECONDS = 2

LEASE = timedelta(seconds=LEASE_SECONDS)

# No fleet claims so often. A node that names a higher token is broken or lies, and must not use up everyone's sequence.
HIGHEST_FENCE = 10**15
# Claims go on while the sequence is moved. It is moved so far ahead that they can't pass the new value meanwhile.
FENCE_MARGIN = 1000
_RAISE = f"SELECT setval('deploys_fence', %s + {FENCE_MARGIN}) FROM deploys_fence WHERE last_value < %s"  # noqa: S608


def create_lease(worker_name: str, queue: str) -> Lease:
    """Each claim under it commits after it, and takes it to the disk."""
    with lazy_commit():
        return Lease.objects.create(worker=worker_name, queue=queue, expires_at=Now() + LEASE)


def renew(lease_id: int) -> bool:
    """False when the row is gone: its targets have been reassigned."""
    return Lease.objects.filter(pk=lease_id).update(expires_at=Now() + LEASE) == 1


def live_leases(*, worker_name: str, queue: str) -> QuerySet[Lease]:
    return Lease.objects.filter(worker=worker_name, queue=queue, expires_at__gt=Now())


def rise_above(newest: int) -> None:
    """Go on above this token if the sequence is behind it: then the database was restored or made anew."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('deploys.fences'))")
        cursor.execute(_RAISE, [newest, newest])


def is_held(target_id: int, fence: int) -> bool:
    """Whether the database still knows this claim as the target's own. If not, somebody holds a newer one."""
    return Target.objects.filter(pk=target_id, fence=fence, status=TargetStatus.IN_PROGRESS).exists()
