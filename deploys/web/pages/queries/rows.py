"""Operations as lists show them: with their progress, and how long they take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone

from deploys.models import Operation
from deploys.operations.progress import Progress, progress_of, status_of
from deploys.states import TargetStatus
from inventory.console.bars import Segment

_FILLS = {
    TargetStatus.COMPLETED: "f-ok",
    TargetStatus.FAILED: "f-fail",
    TargetStatus.SUPERSEDED: "f-warn",
    TargetStatus.CANCELLED: "f-idle",
    TargetStatus.IN_PROGRESS: "f-run",
    TargetStatus.PENDING: "f-rest",
}


@dataclass(frozen=True, kw_only=True)
class OperationRow:
    """state: the operation's status, or `stopping`."""

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

    @property
    def segments(self) -> list[Segment]:
        return [
            Segment(label=str(status.label), count=self.progress.count(status), css_class=fill)
            for status, fill in _FILLS.items()
        ]

    @property
    def shown_segments(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.count]


def rows(operations: Iterable[Operation]) -> list[OperationRow]:
    """One query for all of them, and none if each has ended."""
    listed = list(operations)
    progress = progress_of(listed)
    return [_row(operation, progress[operation.pk]) for operation in listed]


def _row(operation: Operation, progress: Progress) -> OperationRow:
    is_stopping = operation.finished_at is None and operation.cancel_requested_at is not None
    state = "stopping" if is_stopping else status_of(operation, progress)
    return OperationRow(operation=operation, progress=progress, state=state)
