"""One operation: its targets by page, the failed first, and what went wrong first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import Case, Count, IntegerField, Min, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Now
from django.http import QueryDict
from django.utils import timezone

from deploys.error_codes import ErrorCode
from deploys.models import Operation, Target
from deploys.operations.fates import Fate, TargetFacts, fate_of
from deploys.operations.sentences import OperationFacts, target_sentences
from deploys.states import Kind, OperationStatus, Step, StopReason, TargetStatus, Until
from deploys.web.pages.queries.failures import LastLines, last_lines
from deploys.web.pages.queries.pace import step_began
from deploys.web.pages.queries.rows import OperationRow
from inventory.console.pages import Pages, word
from inventory.models import RunStatus, StatusChange

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
    last_lines: LastLines | None
    until: str
    version: str

    @property
    def sentences(self) -> Sequence[str]:
        """What is so on it, once it has ended."""
        target = self.target
        return target_sentences(
            facts_of(target),
            until=self.until,
            version=self.version,
            previous=target.previous_version,
            now=target.instance.running_version,
        )

    @property
    def is_open(self) -> bool:
        return bool(self.target.error_code) or self.target.reverted is not None

    @property
    def state(self) -> str:
        is_stopping = self.target.status == TargetStatus.IN_PROGRESS and self.target.stop_reason
        return "stopping" if is_stopping else self.target.status


def facts_of(target: Target) -> TargetFacts:
    return TargetFacts(
        status=target.status,
        step=target.step,
        reverted=target.reverted,
        code=target.error_code,
        stop_reason=target.stop_reason,
    )


def operation_facts(row: OperationRow) -> OperationFacts:
    """All that its page says of it in words."""
    operation, progress = row.operation, row.progress
    facts = OperationFacts(
        kind=operation.kind,
        until=operation.until,
        version=operation.version,
        state=row.state,
        total=progress.total,
        completed=progress.completed,
        failed=progress.failed,
        cancelled=progress.cancelled,
        superseded=progress.superseded,
        in_progress=progress.in_progress,
        pending=progress.pending,
        gives_way=row.state == OperationStatus.PENDING and _waits_for_deploys(operation),
    )
    facts = replace(facts, moved_on=_moved_on(operation)) if progress.completed and not row.is_running else facts
    return _with_ends(facts, operation) if progress.ended > progress.completed else facts


def _moved_on(operation: Operation) -> int:
    """Of its completed targets, how many instances run another version by now; none is said to, of one that is not known."""
    if operation.until != Until.SWITCHED:
        return 0
    completed = Target.objects.filter(operation=operation, is_latest=True, status=TargetStatus.COMPLETED)
    return completed.exclude(instance__running_version__in=("", operation.version)).count()


def _waits_for_deploys(operation: Operation) -> bool:
    """Of a rollback: a deploy of one of its instances is in progress, and has to stop first."""
    deploys = Target.objects.filter(
        kind=Kind.DEPLOY, status=TargetStatus.IN_PROGRESS, instance__in=operation.targets.values("instance")
    )
    return operation.kind == Kind.ROLLBACK and deploys.exists()


def _with_ends(facts: OperationFacts, operation: Operation) -> OperationFacts:
    """With what its targets came to, and the nodes' word at that time for what the reverted ones went back to."""
    ended = Target.objects.filter(operation=operation, is_latest=True, finished_at__isnull=False)
    ended = ended.exclude(status=TargetStatus.COMPLETED).order_by()
    rows = ended.values_list("status", "step", "reverted", "error_code", "stop_reason").annotate(count=Count("pk"))
    counts: Counter[Fate] = Counter()
    for status, step, reverted, code, reason, count in rows:
        target = TargetFacts(status=status, step=step, reverted=reverted, code=code, stop_reason=reason)
        counts[fate_of(target)] += count
    gone_back = ended.filter(reverted=True).exclude(error_code=ErrorCode.REVERT_FAILED)
    ran_then = Coalesce(Subquery(_changed_since(operation)), "instance__running_version")
    versions = set(gone_back.annotate(ran_then=ran_then).values_list("ran_then", flat=True).distinct()[:2])
    return replace(facts, fates=counts, reverted_to=versions.pop() if len(versions) == 1 else "")


def _changed_since(operation: Operation) -> QuerySet[StatusChange, str]:
    """Of a target's instance: the version that the first change after it has replaced."""
    changes = StatusChange.objects.filter(instance=OuterRef("instance"), field=StatusChange.Field.VERSION)
    later = changes.filter(at__gt=OuterRef("finished_at")).exclude(operation_id=operation.pk)
    return later.order_by("pk").values_list("old", flat=True)[:1]


def target_rows(operation: Operation, targets: QuerySet[Target], pages: Pages) -> list[TargetRow]:
    ordered = targets.select_related("instance__node").order_by(_RANK, "instance__natural_key")
    listed = list(ordered[pages.start : pages.end])
    widest = max((_total(target) for target in listed), default=0.0) or 1.0
    printed = last_lines(operation, listed)
    return [_target_row(operation, target, widest, printed.get(target.instance_id)) for target in listed]


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


def _target_row(operation: Operation, target: Target, widest: float, printed: LastLines | None) -> TargetRow:
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
    return TargetRow(
        target=target,
        parts=parts,
        seconds=_seconds(target),
        step_began=step_began(target),
        until=operation.until,
        version=operation.version,
        last_lines=printed,
    )


def _seconds(target: Target) -> float | None:
    if target.started_at is None:
        return None
    return max(0.0, ((target.finished_at or timezone.now()) - target.started_at).total_seconds())


def first_errors(operation: Operation) -> list[Target]:
    """The targets that failed first, with their instance and node."""
    failed = Target.objects.filter(operation=operation, is_latest=True, status=TargetStatus.FAILED)
    return list(failed.select_related("instance__node").order_by("finished_at", "pk")[:FIRST_ERRORS])


def left_to_undo(operation: Operation) -> int:
    """Of one that has ended: how many instances may still run what it brought. One counts when nobody knows what it runs."""
    runs_it = Q(instance__running_version=operation.version)
    not_known = Q(instance__run_status=RunStatus.UNKNOWN, error_code=ErrorCode.REVERT_FAILED)
    return Target.objects.filter(runs_it | not_known, operation=operation, is_latest=True).count()


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
