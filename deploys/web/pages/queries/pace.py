"""How long operations take: what is usual for them, and what the slowest target of a running one is at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from deploys.models import Operation, Target
from deploys.states import OperationStatus, TargetStatus, Until

# Beyond both of these times what is usual, something is likely to hang.
_FAR_BEYOND = 3.0
_FAR_BEYOND_SECONDS = 15.0

_USUAL = """
SELECT asked.service_id, asked.kind, percentile_cont(0.5) WITHIN GROUP (ORDER BY recent.seconds)
FROM unnest(%s::bigint[], %s::text[]) AS asked(service_id, kind)
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM o.finished_at - o.started_at)::float AS seconds FROM deploys_operation o
    WHERE o.service_id = asked.service_id AND o.kind = asked.kind AND o.status = %s AND o.attempt = 1 AND o.until = %s
    ORDER BY o.id DESC LIMIT 10
) recent
GROUP BY asked.service_id, asked.kind
"""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """usual: seconds, the median of the service's last ten that completed; None without any. step: what the target that has
    been in progress for longest is at, since when; '' and None while none is.
    """

    usual: float | None = None
    step: str = ""
    since: datetime | None = None

    def is_far_beyond(self, seconds: float) -> bool:
        if self.usual is None:
            return False
        return seconds > max(self.usual * _FAR_BEYOND, self.usual + _FAR_BEYOND_SECONDS)


def paces(operations: Iterable[Operation]) -> Mapping[int, Pace]:
    """Of operations that run, by their keys; by two queries, or none."""
    listed = list(operations)
    if not listed:
        return {}
    usual = _usual({(operation.service_id, operation.kind) for operation in listed})
    oldest = {target.operation_id: target for target in _oldest_in_progress(listed)}
    return {
        operation.pk: _pace(usual.get((operation.service_id, operation.kind)), oldest.get(operation.pk))
        for operation in listed
    }


def step_began(target: Target) -> datetime | None:
    """When the step that it is at began: after those that it is through with."""
    if target.started_at is None:
        return None
    return target.started_at + timedelta(seconds=sum(float(seconds) for seconds in target.step_seconds.values()))


def _pace(usual: float | None, target: Target | None) -> Pace:
    if target is None:
        return Pace(usual=usual)
    return Pace(usual=usual, step=target.step, since=step_began(target))


def _usual(asked: Collection[tuple[int, str]]) -> Mapping[tuple[int, str], float]:
    services, kinds = zip(*asked, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_USUAL, [list(services), list(kinds), OperationStatus.COMPLETED, Until.SWITCHED])
        return {(service_id, kind): seconds for service_id, kind, seconds in cursor.fetchall()}


def _oldest_in_progress(operations: Iterable[Operation]) -> Iterable[Target]:
    held = Target.objects.filter(operation__in=list(operations), is_latest=True, status=TargetStatus.IN_PROGRESS)
    return (
        held.only("operation_id", "step", "started_at", "step_seconds")
        .order_by("operation_id", "started_at")
        .distinct("operation_id")
    )
