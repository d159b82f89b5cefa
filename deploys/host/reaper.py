"""Hand on what dead workers left, and wake workers for what nobody has begun. Runs outside the clusters it watches."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import connection

from deploys.error_codes import ErrorCode
from deploys.models import Target
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.queue.announce import enqueue_work
from deploys.queue.names import QUEUE_OF
from deploys.states import Kind, TargetStatus
from deploys.worker.claims import CLAIMABLE
from inventory.actors import SYSTEM
from inventory.instances.facts import Effect
from inventory.models import RunStatus

logger = logging.getLogger(__name__)

# A target that killed so many workers would kill the next one too.
MAX_CLAIMS = 5

# After a restart of PostgreSQL all leases look old; their workers get the time of one lease to renew them.
_ORPHAN = """
WITH dead AS (
    SELECT id FROM deploys_lease
    WHERE expires_at < clock_timestamp() AND pg_postmaster_start_time() < clock_timestamp() - interval '10 seconds'
), theirs AS (
    SELECT id FROM deploys_target WHERE status = 'in_progress' AND lease_id IN (SELECT id FROM dead)
    FOR UPDATE SKIP LOCKED
), orphaned AS (
    UPDATE deploys_target SET lease_id = NULL, updated_at = clock_timestamp()
    WHERE id IN (SELECT id FROM theirs)
    RETURNING id
)
SELECT count(*) FROM orphaned
"""

_FORGET_LEASES = """
DELETE FROM deploys_lease l WHERE l.expires_at < clock_timestamp() - interval '1 minute'
    AND NOT EXISTS (SELECT FROM deploys_target t WHERE t.lease_id = l.id)
"""

# What has just come has a message of its own; what was just freed has none.
_UNBEGUN = f"""
SELECT min(t.operation_id) FROM deploys_target t
WHERE {CLAIMABLE} AND (%(is_urgent)s OR t.updated_at < clock_timestamp() - interval '2 seconds')
"""  # noqa: S608 - only constants are spliced in

_WAITING_HINTS = "SELECT count(*) FROM django_q_ormq WHERE key = %s AND lock <= clock_timestamp()"


def reap() -> int:
    """Free the targets of leases that ran out, and see that somebody works on them. Returns how many were freed."""
    with connection.cursor() as cursor:
        cursor.execute(_ORPHAN)
        row = cursor.fetchone()
        cursor.execute(_FORGET_LEASES)
    freed = int(row[0]) if row else 0
    _give_up_on_killers()
    if freed:
        logger.warning("Reassigning %d targets whose worker went away.", freed)
    for kind in Kind:
        _wake_if_needed(kind, is_urgent=freed > 0)
    return freed


def _give_up_on_killers() -> None:
    lost = Target.objects.filter(status=TargetStatus.IN_PROGRESS, lease=None, claims__gte=MAX_CLAIMS).select_related(
        "operation"
    )
    apply_moves([
        Move.of(
            MovableTarget.of(target),
            to=TargetStatus.FAILED,
            actor=SYSTEM,
            fence=target.fence,
            error_code=ErrorCode.WORKER_LOST,
            error_message=(
                f"{target.claims} workers died while they worked on it, the last in step {target.step}. "
                "See the workers' logs, sync the service, then try again."
            ),
            effect=Effect(run_status=RunStatus.UNKNOWN),
        )
        for target in lost
    ])  # fmt: skip


def _wake_if_needed(kind: Kind, *, is_urgent: bool) -> None:
    """A message may have been lost with the worker that had taken it; one that waits in the queue still will do."""
    queue = QUEUE_OF[kind]
    with connection.cursor() as cursor:
        cursor.execute(_UNBEGUN, {"kind": kind, "is_urgent": is_urgent})
        row = cursor.fetchone()
        operation_id = row[0] if row else None
        cursor.execute(_WAITING_HINTS, [queue])
        waiting = cursor.fetchone()
    if operation_id is None or (waiting and waiting[0] and not is_urgent):
        return
    enqueue_work(queue=queue, operation_id=operation_id, messages=settings.WORKERS)
