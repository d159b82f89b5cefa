"""How far an operation is: its status, and how many of its targets have which.

An unfinished operation's are derived from its targets, a finished one's are stored on its row; one code makes both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Self

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet

from deploys.models import Operation, Target
from deploys.states import OperationStatus, TargetStatus, outcome

UNFINISHED = (OperationStatus.PENDING, OperationStatus.IN_PROGRESS)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How many targets have each status, of the newest attempt on each instance. changed_at: the newest target's."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    superseded: int = 0
    in_progress: int = 0
    pending: int = 0
    changed_at: datetime | None = None

    @classmethod
    def of(cls, counts: Mapping[str, int], *, changed_at: datetime | None = None) -> Self:
        """counts: by target status."""
        return cls(**{TargetStatus(status).value: count for status, count in counts.items()}, changed_at=changed_at)

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.stopped

    @property
    def unfinished(self) -> int:
        return self.in_progress + self.pending

    @property
    def total(self) -> int:
        return self.ended + self.unfinished

    @property
    def stopped(self) -> int:
        """Cancelled ones with those that a rollback superseded: what an operation's row and the API call cancelled."""
        return self.cancelled + self.superseded

    @property
    def retryable(self) -> int:
        return self.failed + self.cancelled

    @property
    def status(self) -> OperationStatus:
        return outcome({status: self.count(status) for status in TargetStatus.values})

    def count(self, status: str) -> int:
        """For '' the total."""
        return int(getattr(self, status)) if status else self.total


def frozen(operation: Operation) -> Progress:
    """What the row of a finished operation says; of an unfinished one that all of it is still to be done."""
    if operation.finished_at is None:
        return Progress(pending=operation.total)
    return Progress(
        completed=operation.completed,
        failed=operation.failed,
        cancelled=operation.cancelled - operation.superseded,
        superseded=operation.superseded,
    )


def progress_of(operations: Iterable[Operation]) -> dict[int, Progress]:
    """By primary key; one query for all of them, and none if each has ended."""
    listed = list(operations)
    counted = count_targets([operation.pk for operation in listed if operation.finished_at is None])
    return {operation.pk: counted.get(operation.pk) or frozen(operation) for operation in listed}


def status_of(operation: Operation, progress: Progress) -> OperationStatus:
    """progress: read after the operation itself.

    Targets that have all ended by then belong to an end that the operation's row, as it was read, does not show yet:
    still in progress.
    """
    if operation.finished_at is not None:
        return OperationStatus(operation.status)
    return progress.status if progress.status in UNFINISHED else OperationStatus.IN_PROGRESS


def with_status(operations: QuerySet[Operation], *statuses: str) -> QuerySet[Operation]:
    """The operations that `status_of` says one of these statuses of, as far as one query can tell."""
    return operations.filter(reduce(or_, map(_has_status, statuses)))


def _has_status(status: str) -> Q:
    if status not in UNFINISHED:
        return Q(status=status)
    targets = Target.objects.filter(operation=OuterRef("pk"), is_latest=True)
    begun = Exists(targets.exclude(status=TargetStatus.PENDING))
    return Q(finished_at__isnull=True) & (Q(begun) if status == OperationStatus.IN_PROGRESS else ~Q(begun))


def updated_after(operations: QuerySet[Operation], moment: datetime) -> QuerySet[Operation]:
    """Those whose `updated_at`, as answers tell it, is later; an unfinished one's is its newest target's."""
    targets = Target.objects.filter(operation=OuterRef("pk"), updated_at__gt=moment)
    return operations.filter(Q(updated_at__gt=moment) | Q(finished_at__isnull=True) & Q(Exists(targets)))


def count_targets(operation_ids: Iterable[int]) -> dict[int, Progress]:
    """By operation, from the targets as they are now."""
    wanted = list(operation_ids)
    if not wanted:
        return {}
    found = (
        Target.objects.filter(operation__in=wanted, is_latest=True)
        .order_by()
        .values_list("operation_id", "status")
        .annotate(count=Count("pk"), changed_at=Max("updated_at"))
    )
    counts: dict[int, dict[str, int]] = {}
    changed: dict[int, datetime] = {}
    for operation_id, status, count, changed_at in found:
        counts.setdefault(operation_id, {})[status] = count
        changed[operation_id] = max(changed_at, changed.get(operation_id, changed_at))
    return {pk: Progress.of(by_status, changed_at=changed[pk]) for pk, by_status in counts.items()}
