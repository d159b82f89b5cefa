"""A work loop's lease and the sequence of fencing tokens: both judged by the database alone."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from deploys.models import Lease, Target
from deploys.queue.lazy_commit import LAZILY
from deploys.states import TargetStatus
from deploys.worker.processes import this_process

LEASE_SECONDS = 6
HEARTBEAT_SECONDS = 2

LEASE = timedelta(seconds=LEASE_SECONDS)

# What this system, or the one before it that its nodes still know, may ever have given out: so many to begin with, and so
# many more for each second since it was set up; no fleet claims so often. The bound rises with the clock alone, and that
# it was set up is restored with the rest. So whatever was followed once, a database restored from any backup can follow.
FENCES_AT_FIRST = 10_000_000
FENCES_A_SECOND = 100
# Claims go on while the sequence is moved. It is moved so far ahead that they can't pass the new value meanwhile.
FENCE_MARGIN = 1000
_HIGHEST = f"""
SELECT {FENCES_AT_FIRST} + {FENCES_A_SECOND} * extract(epoch FROM clock_timestamp() - min(applied))::bigint
FROM django_migrations
"""  # noqa: S608 - only constants are spliced in
_RAISE = f"SELECT setval('deploys_fence', %s + {FENCE_MARGIN}) FROM deploys_fence WHERE last_value < %s"  # noqa: S608


_CREATE = f"""
INSERT INTO deploys_lease (worker, queue, process, expires_at)
SELECT %s, %s, %s, clock_timestamp() + make_interval(secs => {LEASE_SECONDS}) FROM {LAZILY}
RETURNING id
"""  # noqa: S608 - only constants are spliced in


def create_lease(worker_name: str, queue: str) -> Lease:
    """Each claim under it commits after it, and takes it to the disk. What is returned knows its key alone."""
    with connection.cursor() as cursor:
        cursor.execute(_CREATE, [worker_name, queue, this_process()])
        return Lease(pk=cursor.fetchone()[0])


def renew(lease_id: int) -> bool:
    """False when the row is gone: its targets have been reassigned."""
    return Lease.objects.filter(pk=lease_id).update(expires_at=Now() + LEASE) == 1


def live_leases(*, worker_name: str, queue: str) -> QuerySet[Lease]:
    return Lease.objects.filter(worker=worker_name, queue=queue, expires_at__gt=Now())


def rise_above(newest: int) -> bool:
    """Go on above this token if the sequence is behind it: then the database was restored or made anew.

    False, with nothing done, for a token that was never given out: a node that names one is broken or lies, or serves
    another system too, and must not move everyone's sequence.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('deploys.fences'))")
        cursor.execute(_HIGHEST)
        if newest > cursor.fetchone()[0]:
            return False
        cursor.execute(_RAISE, [newest, newest])
    return True


def is_held(target_id: int, fence: int) -> bool:
    """Whether the database still knows this claim as the target's own. If not, somebody holds a newer one."""
    return Target.objects.filter(pk=target_id, fence=fence, status=TargetStatus.IN_PROGRESS).exists()
