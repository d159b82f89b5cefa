"""All services at a glance. The number of queries is the same for 3 services and for 500."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deploys.models import Operation, Worker
from deploys.operations.restored import is_restored
from deploys.states import OperationStatus
from deploys.web.pages.queries.pace import Pace, paces
from deploys.web.pages.queries.rows import OperationRow, rows
from inventory.console.bars import Segment
from inventory.drift import DRIFTED
from inventory.models import Health, Instance, RunStatus, Service, StatusChange
from inventory.security.access import Access

_COLOURS = 5
_RUNNING_SHOWN = 12
_WORKER_SILENCE_SECONDS = 20


@dataclass(kw_only=True)
class ServiceRow:
    """One service: its instances by version and by what is wrong with them, and its newest operation."""

    pk: int
    name: str
    total: int = 0
    failed: int = 0
    stopped: int = 0
    unknown: int = 0
    healthy: int = 0
    unhealthy: int = 0
    drifted: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    last: OperationRow | None = None

    @property
    def target_version(self) -> str:
        """What is being deployed, or else the version that most instances should run."""
        if self.last is not None and self.last.is_running:
            return self.last.operation.version
        return max(self.expected, key=lambda version: (self.expected[version], version), default="")

    @property
    def segments(self) -> list[Segment]:
        return version_segments(self.versions)

    @property
    def is_running(self) -> bool:
        return self.last is not None and self.last.is_running

    @property
    def has_failed_last(self) -> bool:
        return self.last is not None and self.last.state == OperationStatus.FAILED

    @property
    def needs_attention(self) -> bool:
        wrong = self.failed or self.unhealthy or self.drifted or self.stopped or self.unknown
        return bool(wrong or self.has_failed_last)

    @property
    def rank(self) -> tuple[int, str]:
        """Failed and running first."""
        order = 0 if self.failed or self.has_failed_last else 1 if self.is_running else 2 if self.needs_attention else 3
        return order, self.name


def version_segments(versions: dict[str, int]) -> list[Segment]:
    """The most frequent versions in a colour each, the others as one part; '' is an instance that runs nothing."""
    known = sorted(((v, n) for v, n in versions.items() if v), key=lambda pair: (-pair[1], pair[0]))
    shown = [
        Segment(label=version, count=count, css_class=f"f-v{place}")
        for place, (version, count) in enumerate(known[:_COLOURS])
    ]
    others = known[_COLOURS:]
    if others:
        label = ngettext("%(count)s other version", "%(count)s other versions", len(others)) % {"count": len(others)}
        shown.append(Segment(label=label, count=sum(count for _version, count in others), css_class="f-v5"))
    if versions.get(""):
        shown.append(Segment(label=_("nothing deployed"), count=versions[""], css_class="f-rest"))
    return shown


@dataclass(frozen=True, kw_only=True)
class RunningRow:
    row: OperationRow
    pace: Pace

    @property
    def is_far_beyond(self) -> bool:
        return self.pace.is_far_beyond(self.row.seconds)


@dataclass(frozen=True, kw_only=True)
class Overview:
    services: list[ServiceRow]
    running: list[RunningRow]
    running_total: int

    @property
    def instances(self) -> int:
        return sum(row.total for row in self.services)

    @property
    def failed(self) -> int:
        return sum(row.failed for row in self.services)

    @property
    def failed_last(self) -> int:
        """How many services' newest operation failed."""
        return sum(row.has_failed_last for row in self.services)

    @property
    def unhealthy(self) -> int:
        return sum(row.unhealthy for row in self.services)

    @property
    def drifted(self) -> int:
        return sum(row.drifted for row in self.services)

    @property
    def attention(self) -> int:
        return sum(row.needs_attention for row in self.services)

    @property
    def in_motion(self) -> int:
        return sum(row.is_running for row in self.services)

    def shown(self, show: str) -> list[ServiceRow]:
        match show:
            case "attention":
                return [row for row in self.services if row.needs_attention]
            case "running":
                return [row for row in self.services if row.is_running]
            case "failed":
                return [row for row in self.services if row.failed or row.has_failed_last]
            case "unhealthy" | "drifted":
                return [row for row in self.services if getattr(row, show)]
            case _:
                return self.services


def overview(access: Access) -> Overview:
    newest = Operation.objects.filter(service=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    services = list(
        access.visible(Service.objects.all(), "pk")
        .annotate(last_id=Subquery(newest))
        .values_list("pk", "name", "last_id")
    )
    by_pk = {pk: ServiceRow(pk=pk, name=name) for pk, name, _last in services}
    _add_instances(by_pk, access)
    _add_last_operations(by_pk, [last for _pk, _name, last in services if last])
    unfinished = access.visible(Operation.objects.filter(finished_at__isnull=True))
    running = _running(unfinished.select_related("service").order_by("-pk")[:_RUNNING_SHOWN])
    total = len(running) if len(running) < _RUNNING_SHOWN else unfinished.count()
    return Overview(services=sorted(by_pk.values(), key=lambda row: row.rank), running=running, running_total=total)


def _running(operations: QuerySet[Operation]) -> list[RunningRow]:
    shown = rows(operations)
    pace_of = paces(row.operation for row in shown)
    return [RunningRow(row=row, pace=pace_of[row.operation.pk]) for row in shown]


def _add_instances(by_pk: dict[int, ServiceRow], access: Access) -> None:
    grouped = (
        access.visible(Instance.objects.listed().order_by())
        .values("service_id", "running_version", "expected_version")
        .annotate(
            total=Count("pk"),
            failed=Count("pk", filter=Q(run_status=RunStatus.FAILED)),
            stopped=Count("pk", filter=Q(run_status=RunStatus.STOPPED)),
            unknown=Count("pk", filter=Q(run_status=RunStatus.UNKNOWN) & ~Q(running_version="")),
            healthy=Count("pk", filter=Q(health=Health.HEALTHY)),
            unhealthy=Count("pk", filter=Q(health=Health.UNHEALTHY)),
            drifted=Count("pk", filter=DRIFTED),
        )
    )
    for group in grouped:
        row = by_pk.get(group["service_id"])
        if row is None:
            continue
        for name in ("total", "failed", "stopped", "unknown", "healthy", "unhealthy", "drifted"):
            setattr(row, name, getattr(row, name) + group[name])
        _add(row.versions, group["running_version"], group["total"])
        if group["expected_version"]:
            _add(row.expected, group["expected_version"], group["total"])


def _add(counts: dict[str, int], key: str, count: int) -> None:
    counts[key] = counts.get(key, 0) + count


def _add_last_operations(by_pk: dict[int, ServiceRow], operation_ids: list[int]) -> None:
    for row in rows(_light(Operation.objects.filter(pk__in=operation_ids))):
        by_pk[row.operation.service_id].last = row


def _light(operations: QuerySet[Operation]) -> QuerySet[Operation]:
    return operations.defer("package_url", "package_error_message", "package_error_told", "reason", "fingerprint")


def overview_mark(access: Access) -> str:
    """Changes whenever what the overview shows may have: two look-ups at an index's end and the unfinished rows."""
    change = StatusChange.objects.order_by("-pk").values_list("pk", flat=True).first()
    unfinished = Operation.objects.filter(finished_at__isnull=True).aggregate(
        newest=Max("pk"), count=Count("pk"), stopping=Count("cancel_requested_at"), changed=Max("updated_at")
    )
    changed = unfinished["changed"].timestamp() if unfinished["changed"] else 0
    alive = worker_presence().value
    newest, count, stopping = unfinished["newest"] or 0, unfinished["count"], unfinished["stopping"]
    return f"{change or 0}.{newest}.{count}.{stopping}.{changed:.3f}.{alive}"


class Presence(Enum):
    """Of worker hosts: whether any has been heard of recently, by the database's clock, and is not paused."""

    AWAY = "away"
    PAUSED = "paused"
    RESTORED = "restored"
    WORKING = "working"


def worker_presence() -> Presence:
    heard = Worker.objects.filter(seen_at__gt=Now() - timedelta(seconds=_WORKER_SILENCE_SECONDS))
    paused = set(heard.values_list("is_paused", flat=True))
    if False in paused:
        return Presence.WORKING
    if not paused:
        return Presence.AWAY
    return Presence.RESTORED if is_restored() else Presence.PAUSED
