"""One operation: its targets by page, the failed first, and what went wrong first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Count, IntegerField, Min, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.http import QueryDict
from django.utils import timezone

from deploys.error_codes import ErrorCode
from deploys.models import Operation, Target
from deploys.states import Step, StopReason, TargetStatus
from deploys.web.pages.queries.pace import step_began
from deploys.web.pages.queries.rows import OperationRow
from inventory.console.pages import Pages, word
from inventory.models import RunStatus

PAGE_SIZE = 25
FIRST_ERRORS = 3
STEP_ORDER = (
    Step.FETCH, Step.CONNECT, Step.CHECK, Step.STAGE, Step.BEFORE_SWITCH, Step.SWITCH, Step.RESTART, Step.VERIFY,
    Step.CONFIRM, Step.REVERT, Step.CLEAN_UP,
)  # fmt: skip
_RANK = Case(
    *(
        When(status=status, then=Value(rank))
        for rank, status in enumerate(
            (TargetStatus.FAILED, TargetStatus.IN_PROGRESS, TargetStatus.PENDING, TargetStatus.SUPERSEDED,
             TargetStatus.CANCELLED, TargetStatus.COMPLETED)
        )
    ),
    output_field=IntegerField(),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TargetFilter:
    """'' leaves a criterion out."""

    status: str = ""
    query: str = ""

    @classmethod
    def of(cls, params: QueryDict) -> TargetFilter:
        status = params.get("status", "")
        return cls(status=status if status in TargetStatus.values else "", query=word(params, "q"))

    def matching(self, operation: Operation) -> QuerySet[Target]:
        targets = Target.objects.filter(operation=operation, is_latest=True)
        if self.status:
            targets = targets.filter(status=self.status)
        if self.query:
            targets = targets.filter(instance__instance_id__icontains=self.query)
        return targets


@dataclass(frozen=True, kw_only=True)
class StepPart:
    """One step of a target. x and width: percent of the widest target on the page, as SVG attributes."""

    step: str
    seconds: float
    x: str
    width: str
    state: str


@dataclass(frozen=True, kw_only=True)
class TargetRow:
    target: Target
    parts: Sequence[StepPart]
    seconds: float | None
    step_began: datetime | None

    @property
    def is_open(self) -> bool:
        return bool(self.target.error_code) or self.target.reverted is not None

    @property
    def state(self) -> str:
        is_stopping = self.target.status == TargetStatus.IN_PROGRESS and self.target.stop_reason
        return "stopping" if is_stopping else self.target.status


def target_rows(targets: QuerySet[Target], pages: Pages) -> list[TargetRow]:
    ordered = targets.select_related("instance__node").order_by(_RANK, "instance__natural_key")
    listed = list(ordered[pages.start : pages.end])
    widest = max((_total(target) for target in listed), default=0.0) or 1.0
    return [_target_row(target, widest) for target in listed]


def _total(target: Target) -> float:
    return sum(_steps(target).values()) + _seconds_in_step(target)


def _seconds_in_step(target: Target) -> float:
    """Of one that is in progress, how long it has been at the step that it is at."""
    began = step_began(target) if target.status == TargetStatus.IN_PROGRESS else None
    return 0.0 if began is None else max(0.0, (timezone.now() - began).total_seconds())


def _steps(target: Target) -> Mapping[str, float]:
    """In the order of work; a step that is not known here comes last."""
    known = {step: float(target.step_seconds[step]) for step in STEP_ORDER if step in target.step_seconds}
    others = {step: float(seconds) for step, seconds in target.step_seconds.items() if step not in known}
    return {**known, **others}


def _target_row(target: Target, widest: float) -> TargetRow:
    parts, x = [], 0.0
    for step, seconds in _steps(target).items():
        width = 100 * seconds / widest
        is_failed = bool(target.error_code) and step == target.step
        state = "failed" if is_failed else "done"
        parts.append(StepPart(step=step, seconds=seconds, x=f"{x:.2f}%", width=f"{max(width, 0.8):.2f}%", state=state))
        x += width
    if target.step not in target.step_seconds and target.status in (TargetStatus.FAILED, TargetStatus.IN_PROGRESS):
        state = "failed" if target.status == TargetStatus.FAILED else "now"
        seconds = _seconds_in_step(target)
        width = max(100 * seconds / widest, 1.0)
        parts.append(
            StepPart(step=target.step, seconds=seconds, x=f"{min(x, 99):.2f}%", width=f"{width:.2f}%", state=state)
        )
    return TargetRow(target=target, parts=parts, seconds=_seconds(target), step_began=step_began(target))


def _seconds(target: Target) -> float | None:
    if target.started_at is None:
        return None
    return max(0.0, ((target.finished_at or timezone.now()) - target.started_at).total_seconds())


def first_errors(operation: Operation) -> list[Target]:
    """The targets that failed first, with their instance and node."""
    failed = Target.objects.filter(operation=operation, is_latest=True, status=TargetStatus.FAILED)
    return list(failed.select_related("instance__node").order_by("finished_at", "pk")[:FIRST_ERRORS])


@dataclass(frozen=True, kw_only=True)
class WayBack:
    """Of an operation that has ended. count: instances that may still run what it brought, which undoing it is about.

    reverted_to: the version that all of them were reverted to by the nodes themselves, '' when that is not so.
    """

    count: int
    reverted_to: str = ""


def way_back(operation: Operation) -> WayBack:
    """An instance counts as well when nobody knows what it runs."""
    targets = Target.objects.filter(operation=operation, is_latest=True)
    runs_it = Q(instance__running_version=operation.version)
    not_known = Q(instance__run_status=RunStatus.UNKNOWN, error_code=ErrorCode.REVERT_FAILED)
    count = targets.filter(runs_it | not_known).count()
    if count or targets.exclude(reverted=True).exists():
        return WayBack(count=count)
    versions = set(targets.values_list("instance__running_version", flat=True).distinct()[:2])
    return WayBack(count=0, reverted_to=versions.pop() if len(versions) == 1 else "")


@dataclass(frozen=True, kw_only=True)
class Unconfirmed:
    """How many instances wait to be confirmed, and until when the first of them does."""

    count: int
    until: datetime


def unconfirmed(operation: Operation) -> Unconfirmed | None:
    """None when none waits, or each that does was confirmed, stopped, or is late."""
    if not operation.confirm_within:
        return None
    waiting = Target.objects.filter(operation=operation, is_latest=True, status=TargetStatus.IN_PROGRESS)
    waiting = waiting.filter(confirm_by__gt=Now(), confirmed_at=None, stop_reason=StopReason.NONE)
    found = waiting.aggregate(count=Count("pk"), until=Min("confirm_by"))
    return Unconfirmed(**found) if found["count"] else None


def dead_since(operation: Operation) -> datetime | None:
    """When the oldest lease of a worker that has not been heard of since ran out; None while all are alive."""
    held = Target.objects.filter(operation=operation, is_latest=True, status=TargetStatus.IN_PROGRESS)
    expired = held.filter(lease__expires_at__lt=Now()).order_by("lease__expires_at")
    return expired.values_list("lease__expires_at", flat=True).first()


def attempts(operation: Operation) -> int:
    """How many targets of earlier attempts are kept."""
    return operation.targets.filter(is_latest=False).count() if operation.attempt > 1 else 0


def operation_mark(row: OperationRow, *, dead: datetime | None, trouble: str | None = None) -> str:
    """Changes whenever what the page shows of the operation may have."""
    operation, progress = row.operation, row.progress
    seen = (
        operation.updated_at, operation.finished_at, operation.cancel_requested_at, operation.attempt,
        operation.package_id, progress, dead, trouble, _tenths_of_a_minute() if row.is_running else None,
    )  # fmt: skip
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def _tenths_of_a_minute() -> int:
    """What is in progress is drawn anew now and then even if nothing has come: its bars grow."""
    return int(timezone.now().timestamp() // 6)
