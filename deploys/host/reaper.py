"""Reassign what lost workers left, and wake workers for what nobody has begun. Runs outside the clusters it watches.

A lease is lost when it ran out: then its process is dead, paused, cut off, or the database did not take its writes. Or its
process is proven to be gone (`deploys.worker.processes`), which a reaper on the same machine sees at once. Only the
second is held against a target, and only against one that the process had begun to work on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Q

from deploys.error_codes import ErrorCode
from deploys.models import Target
from deploys.operations.log import write_system_line
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.queue.announce import enqueue_work
from deploys.queue.names import QUEUE_OF
from deploys.states import Kind, TargetStatus
from deploys.told import Facts, Telling, Told
from deploys.told import marked as _
from deploys.worker import processes
from deploys.worker.assignment import MAY_HAVE_SWITCHED
from deploys.worker.claim_limits import MAX_CLAIMS, MAX_DEATHS
from deploys.worker.claims import CLAIMABLE
from deploys.worker.leases import LEASE
from inventory.actors import SYSTEM
from inventory.instances.facts import Effect
from inventory.models import RunStatus

logger = logging.getLogger(__name__)

# After a restart of PostgreSQL all leases look old; their workers get the time of one lease to renew them.
_EXPIRED = "l.expires_at < clock_timestamp() AND pg_postmaster_start_time() < clock_timestamp() - interval '10 seconds'"

_LEASES = "SELECT id, worker, process, expires_at FROM deploys_lease"

_FREE = f"""
WITH theirs AS (
    SELECT t.id, t.lease_id, t.begun_fence IS NOT NULL AND t.begun_fence = t.fence AS is_begun
    FROM deploys_target t JOIN deploys_lease l ON l.id = t.lease_id
    WHERE t.status = 'in_progress' AND (l.id = ANY(%(dead)s) OR {_EXPIRED})
    FOR UPDATE OF t SKIP LOCKED
), freed AS (
    UPDATE deploys_target t SET lease_id = NULL, updated_at = clock_timestamp(),
        deaths = t.deaths + CASE WHEN theirs.is_begun AND theirs.lease_id = ANY(%(dead)s) THEN 1 ELSE 0 END
    FROM theirs WHERE t.id = theirs.id
    RETURNING t.operation_id, theirs.lease_id, theirs.is_begun
)
SELECT operation_id, lease_id, count(*), count(*) FILTER (WHERE is_begun) FROM freed GROUP BY operation_id, lease_id
"""  # noqa: S608 - only constants are spliced in

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


@dataclass(frozen=True)
class _Holder:
    """expires_at: when its lease ends, or ended."""

    worker: str
    process: str
    expires_at: datetime
    is_dead: bool


@dataclass(frozen=True)
class _Freed:
    """What one lost worker held of one operation; begun: of how many of these instances its work on the node had begun."""

    operation_id: int
    holder: _Holder
    count: int
    begun: int


def reap() -> int:
    """Free the targets of lost workers, and see that somebody works on them. Returns how many were freed."""
    freed = _free(_holders())
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_LEASES)
    _give_up_at_the_limits()
    total = sum(each.count for each in freed)
    if total:
        logger.warning("Reassigning %d targets whose worker went away.", total)
    for kind in Kind:
        _wake_if_needed(kind, is_urgent=total > 0)
    for each in freed:
        write_system_line(each.operation_id, _said(each))
    return total


def _holders() -> dict[int, _Holder]:
    with connection.cursor() as cursor:
        cursor.execute(_LEASES)
        rows = cursor.fetchall()
    return {pk: _Holder(worker, process, ends, processes.is_gone(process)) for pk, worker, process, ends in rows}


def _free(holders: dict[int, _Holder]) -> Sequence[_Freed]:
    dead = [pk for pk, holder in holders.items() if holder.is_dead]
    with connection.cursor() as cursor:
        cursor.execute(_FREE, {"dead": dead})
        rows = cursor.fetchall()
    return [
        _Freed(operation_id, holders[lease_id], count, begun)
        for operation_id, lease_id, count, begun in rows
        if lease_id in holders
    ]


def _said(freed: _Freed) -> Telling:
    holder = freed.holder
    facts: Facts = {
        "worker": holder.worker,
        "since": f"{holder.expires_at - LEASE:%H:%M:%S} UTC",
        "count": freed.count,
        "begun": freed.begun,
    }
    if holder.is_dead:
        facts["process"] = processes.number_of(holder.process)
        what = _("Worker '%(worker)s' has died: its process %(process)s is gone; it was last heard of at %(since)s.")
    else:
        what = _(
            "Worker '%(worker)s' has not renewed its lease since %(since)s; it may be dead, paused or cut off, or the "
            "database too slow."
        )
    if freed.count > 1:
        whose = _(
            "%(count)s instances that it held here go to another worker (work on the node had begun for %(begun)s)."
        )
    elif freed.begun:
        whose = _("The instance that it held here goes to another worker (work on the node had begun).")
    else:
        whose = _("The instance that it held here goes to another worker (work on the node had not begun).")
    return (Told(what, facts), Told(whose, facts))


def _give_up_at_the_limits() -> None:
    left = Target.objects.filter(status=TargetStatus.IN_PROGRESS, lease=None)
    over = left.filter(Q(deaths__gte=MAX_DEATHS) | Q(claims__gte=MAX_CLAIMS)).select_related("operation")
    apply_moves([_given_up(target) for target in over])


def _given_up(target: Target) -> Move:
    may_have_switched = target.step in MAY_HAVE_SWITCHED
    return Move.of(
        MovableTarget.of(target),
        to=TargetStatus.FAILED,
        actor=SYSTEM,
        fence=target.fence,
        error_code=ErrorCode.WORKER_LOST,
        told=_why_given_up(target, may_have_switched=may_have_switched),
        effect=Effect(run_status=RunStatus.UNKNOWN, process="") if may_have_switched else None,
    )


def _why_given_up(target: Target, *, may_have_switched: bool) -> Telling:
    facts: Facts = {"deaths": target.deaths, "claims": target.claims, "step": target.step}
    if target.deaths >= MAX_DEATHS:
        why = _("%(deaths)s workers died while their work on it had begun, the last in step %(step)s.")
    else:
        why = _(
            "It was begun %(claims)s times and never came to an end, the last time in step %(step)s: %(deaths)s of those "
            "workers died, the others could not keep their lease or broke off."
        )
    now = _("Nothing was switched. See the workers' logs and the database's, then try again.")
    if may_have_switched:
        now = _("Whether it was switched is not known. See the workers' logs, sync the service, then try again.")
    return (Told(why, facts), Told(now))


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
