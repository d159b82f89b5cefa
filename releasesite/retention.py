"""What `manage.py prune` deletes, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from deploys.events.retention import old_deliveries
from deploys.operations.retention import prune_log_lines, prune_operations
from inventory.actors import SYSTEM
from inventory.database.steps import delete_in_steps
from inventory.security import audit
from releasesite.models import RequestCount

REQUEST_COUNTS_KEPT_FOR = timedelta(days=1)
_LOGINS = {"wrong passwords": AccessAttempt, "failed logins": AccessFailureLog, "logins": AccessLog}


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """count: rows that went, or would go."""

    what: str
    count: int


def prune(*, logs_days: int, operations_days: int, dry_run: bool) -> Iterator[Pruned]:
    """Each kind of row once it is done with. Broken off, it has deleted whole things; run again, it goes on.

    logs_days: no more than operations_days, since a log goes with its operation.
    """
    counts: dict[str, int] = {}
    try:
        for pruned in _prune(logs_days=logs_days, operations_days=operations_days, dry_run=dry_run):
            counts[pruned.what] = pruned.count
            yield pruned
    finally:
        if not dry_run and any(counts.values()):
            days = {"logs_days": logs_days, "operations_days": operations_days}
            audit.record(
                actor=SYSTEM, action="history.prune", detail=days | {what: n for what, n in counts.items() if n}
            )


def _prune(*, logs_days: int, operations_days: int, dry_run: bool) -> Iterator[Pruned]:
    now = _now()
    yield Pruned(what="log lines", count=prune_log_lines(now - timedelta(days=logs_days), dry_run=dry_run))
    gone = prune_operations(now - timedelta(days=operations_days), dry_run=dry_run)
    yield Pruned(what="operations", count=gone.operations)
    yield Pruned(what="instances in operations", count=gone.targets)
    for what, rows in _rows(attempts_before=now - timedelta(days=logs_days)):
        yield Pruned(what=what, count=rows.count() if dry_run else delete_in_steps(rows))


def _rows(*, attempts_before: datetime) -> Iterator[tuple[str, QuerySet[Any]]]:
    yield "expired sessions", Session.objects.filter(expire_date__lt=Now())
    for what, model in _LOGINS.items():
        yield what, model.objects.filter(attempt_time__lt=attempts_before)
    yield "webhook deliveries", old_deliveries()
    yield "request counts", RequestCount.objects.filter(minute__lt=Now() - REQUEST_COUNTS_KEPT_FOR)


def _now() -> datetime:
    """The database's clock, by which the times were written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
