"""How far operations are: counts of an unfinished one come from its targets, of a finished one from its row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max
from django.utils import timezone
from django.utils.translation import gettext as _

from deploys.models import Operation, Target
from deploys.states import OperationStatus, TargetStatus, outcome
from inventory.console.bars import Segment


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Counts by target status. `cancelled` is without the superseded ones; changed_at: the newest target's."""

    total: int
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    superseded: int = 0
    in_progress: int = 0
    pending: int = 0
    changed_at: datetime | None = None

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled + self.superseded

    @property
    def unfinished(self) -> int:
        return self.in_progress + self.pending

    @property
    def retryable(self) -> int:
        return self.failed + self.cancelled

    def count(self, status: str) -> int:
        """For '' the total."""
        return int(getattr(self, status)) if status else self.total

    @property
    def segments(self) -> list[Segment]:
        return [
            Segment(label=_("Completed"), count=self.completed, css_class="f-ok"),
            Segment(label=_("Failed"), count=self.failed, css_class="f-fail"),
            Segment(label=_("Superseded"), count=self.superseded, css_class="f-warn"),
            Segment(label=_("Cancelled"), count=self.cancelled, css_class="f-idle"),
            Segment(label=_("In progress"), count=self.in_progress, css_class="f-run"),
            Segment(label=_("Waiting"), count=self.pending, css_class="f-rest"),
        ]

    @property
    def shown_segments(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.count]


@dataclass(frozen=True, kw_only=True)
class OperationRow:
    """An operation as lists show it. state: its status, or `stopping`."""

    operation: Operation
    progress: Progress
    state: str

    @property
    def is_running(self) -> bool:
        return self.operation.finished_at is None

    @property
    def seconds(self) -> float:
        until = self.operation.finished_at or timezone.now()
        return max(0.0, (until - self.operation.started_at).total_seconds())

    @property
    def seconds_left(self) -> float | None:
        """From this operation's own pace; None while too little of it has ended."""
        ended, unfinished = self.progress.ended, self.progress.unfinished
        if not self.is_running or ended < 3 or not unfinished:
            return None
        return self.seconds / ended * unfinished


def rows(operations: Iterable[Operation]) -> list[OperationRow]:
    """One query for all of them, and none if each has ended."""
    listed = list(operations)
    counted = _count_targets([operation.pk for operation in listed if operation.finished_at is None])
    return [_row(operation, counted.get(operation.pk)) for operation in listed]


def _row(operation: Operation, counted: Progress | None) -> OperationRow:
    progress = counted or frozen(operation)
    return OperationRow(operation=operation, progress=progress, state=state_of(operation, progress))


def frozen(operation: Operation) -> Progress:
    return Progress(
        total=operation.total,
        completed=operation.completed,
        failed=operation.failed,
        cancelled=operation.cancelled - operation.superseded,
        superseded=operation.superseded,
        pending=0 if operation.finished_at else operation.total,
    )


def state_of(operation: Operation, progress: Progress) -> str:
    if operation.finished_at is not None:
        return operation.status
    if operation.cancel_requested_at is not None:
        return "stopping"
    status = outcome({status: progress.count(status) for status in TargetStatus.values})
    # Its last target has ended, its row says so within the same transaction: never "completed" before.
    return status if status in (OperationStatus.PENDING, OperationStatus.IN_PROGRESS) else OperationStatus.IN_PROGRESS


def _count_targets(operation_ids: Sequence[int]) -> dict[int, Progress]:
    if not operation_ids:
        return {}
    found = (
        Target.objects.filter(operation__in=operation_ids, is_latest=True)
        .order_by()
        .values_list("operation_id", "status")
        .annotate(count=Count("pk"), changed_at=Max("updated_at"))
    )
    counts: dict[int, dict[str, int]] = {}
    changed: dict[int, datetime] = {}
    for operation_id, status, count, changed_at in found:
        counts.setdefault(operation_id, {})[status] = count
        changed[operation_id] = max(changed_at, changed.get(operation_id, changed_at))
    return {
        operation_id: Progress(total=sum(by_status.values()), changed_at=changed[operation_id], **by_status)
        for operation_id, by_status in counts.items()
    }
