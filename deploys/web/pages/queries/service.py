"""One service: its instances by page and filter, what is in progress on them, and its latest operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.http import QueryDict

from deploys.models import Operation, Package, Target
from deploys.operations.version_ages import is_newer, version_ages
from deploys.operations.way_back import UnfinishedDeploy, past_of, version_before
from deploys.states import ACTIVE, Kind, TargetStatus, Until
from deploys.web.pages.queries.overview import version_segments
from deploys.web.pages.queries.rows import OperationRow, rows
from inventory.console.bars import Segment
from inventory.console.pages import Pages, word
from inventory.drift import DRIFTED
from inventory.models import Health, Instance, RunStatus, Service, StatusChange

PAGE_SIZE = 50
_TIMELINE = 10
IN_MOTION = {RunStatus.DEPLOYING: Kind.DEPLOY, RunStatus.ROLLING_BACK: Kind.ROLLBACK}


@dataclass(frozen=True, kw_only=True)
class InstanceFilter:
    """'' leaves a criterion out. version '-' means: nothing runs. status: a run status, a health, or `drifted`."""

    query: str = ""
    version: str = ""
    status: str = ""

    @classmethod
    def of(cls, params: QueryDict) -> InstanceFilter:
        return cls(query=word(params, "q"), version=word(params, "version"), status=word(params, "status", limit=20))

    def matching(self, service: Service) -> QuerySet[Instance]:
        instances = Instance.objects.listed().filter(service=service)
        if self.query:
            found = Q(instance_id__icontains=self.query) | Q(node__host__icontains=self.query)
            instances = instances.filter(found | Q(node__name__icontains=self.query))
        if self.version:
            instances = instances.filter(running_version="" if self.version == "-" else self.version)
        return self._with_status(instances)

    def _with_status(self, instances: QuerySet[Instance]) -> QuerySet[Instance]:
        active = Target.objects.filter(instance=OuterRef("pk"), status__in=ACTIVE)
        match self.status:
            case "":
                return instances
            case "drifted":
                return instances.filter(DRIFTED)
            case Health.HEALTHY | Health.UNHEALTHY:
                return instances.filter(health=self.status)
            case RunStatus.DEPLOYING | RunStatus.ROLLING_BACK:
                return instances.filter(Exists(active.filter(kind=IN_MOTION[RunStatus(self.status)])))
            case _:
                return instances.filter(run_status=self.status).exclude(Exists(active))

    @property
    def is_empty(self) -> bool:
        return not (self.query or self.version or self.status)


def chosen_instances(params: QueryDict, service: Service) -> QuerySet[Instance]:
    """`i`: those of these keys; `all`, or neither this nor `picked`: those of the filter."""
    if params.get("all") or not ("i" in params or "picked" in params):
        return InstanceFilter.of(params).matching(service)
    keys = [key for key in params.getlist("i") if key.isascii() and key.isdigit() and len(key) < 18]
    return Instance.objects.listed().filter(service=service, pk__in=keys)


@dataclass(frozen=True, kw_only=True)
class InstanceRow:
    """An instance as its service's table shows it.

    holders: its unfinished targets, a rollback first. left_version: what its last rollback took it from, '' when something
    has been deployed since.
    """

    instance: Instance
    holders: Sequence[Target]
    ages: Mapping[str, int] = field(default_factory=dict)
    left_version: str = ""

    @property
    def previous_version(self) -> str:
        """What a rollback would go back to."""
        deploys = (UnfinishedDeploy.of(target) for target in self.holders if target.kind == Kind.DEPLOY)
        return version_before(past_of(self.instance), next(deploys, None))

    @property
    def stays(self) -> bool:
        """A rollback would only end the deploy in progress, which is not known to have switched yet."""
        return self.previous_version == self.instance.running_version

    @property
    def is_back(self) -> bool:
        """What ran before is not newer than what runs: after a deploy of an old version it is."""
        return not is_newer(self.previous_version, than=self.instance.running_version, ages=self.ages)

    @property
    def way_forward(self) -> str:
        """The version that a rollback has left, if it is neither what runs nor offered as what ran before; '' without one."""
        runs = self.instance.running_version
        return self.left_version if self.left_version not in (runs, self.previous_version) else ""

    @property
    def run_status(self) -> str:
        if not self.holders:
            return self.instance.run_status
        is_rollback = self.holders[0].kind == Kind.ROLLBACK
        return RunStatus.ROLLING_BACK if is_rollback else RunStatus.DEPLOYING

    @property
    def rolling_back(self) -> Operation | None:
        return next((target.operation for target in self.holders if target.kind == Kind.ROLLBACK), None)


@dataclass(kw_only=True)
class ServiceFigures:
    """Counts over all of a service's instances, whatever the filter."""

    total: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    run: dict[str, int] = field(default_factory=dict)
    health: dict[str, int] = field(default_factory=dict)
    drifted: int = 0
    deploying: int = 0
    rolling_back: int = 0

    @property
    def segments(self) -> list[Segment]:
        return version_segments(self.versions)

    @property
    def version_choices(self) -> list[tuple[str, int]]:
        return sorted(((v, n) for v, n in self.versions.items() if v), key=lambda pair: (-pair[1], pair[0]))

    @property
    def status_choices(self) -> list[tuple[str, str, int]]:
        """(family, value, count) of those states that some instance is in."""
        listed = [("run", "deploying", self.deploying), ("run", "rolling_back", self.rolling_back)]
        listed += [("run", value, self.run.get(value, 0)) for value in ("failed", "stopped", "unknown", "running")]
        listed += [("health", value, self.health.get(value, 0)) for value in ("unhealthy", "healthy")]
        return [choice for choice in listed if choice[2]]


def figures(service: Service) -> ServiceFigures:
    found = ServiceFigures()
    grouped = (
        Instance.objects.listed()
        .filter(service=service)
        .order_by()
        .values_list("running_version", "run_status", "health")
        .annotate(count=Count("pk"), drifted=Count("pk", filter=DRIFTED))
    )
    for version, run_status, health, count, drifted in grouped:
        found.total += count
        found.drifted += drifted
        for counts, key in ((found.versions, version), (found.run, run_status), (found.health, health)):
            counts[key] = counts.get(key, 0) + count
    moving = _active_targets(service).order_by().values_list("kind").annotate(count=Count("instance", distinct=True))
    in_motion: Mapping[str, int] = dict(moving)
    stored = _active_targets(service).order_by().values_list("instance__run_status")
    for run_status, count in stored.annotate(count=Count("instance", distinct=True)):
        found.run[run_status] = found.run.get(run_status, 0) - count  # what is in progress counts as that alone
    found.deploying, found.rolling_back = in_motion.get(Kind.DEPLOY, 0), in_motion.get(Kind.ROLLBACK, 0)
    return found


def _active_targets(service: Service) -> QuerySet[Target]:
    return Target.objects.filter(operation__service=service, operation__finished_at__isnull=True, status__in=ACTIVE)


def instance_rows(instances: QuerySet[Instance], pages: Pages) -> list[InstanceRow]:
    listed = list(instances.select_related("node").order_by("natural_key")[pages.start : pages.end])
    holders: dict[int, list[Target]] = {}
    for target in (
        Target.objects.filter(instance__in=[instance.pk for instance in listed], status__in=ACTIVE)
        .select_related("operation")
        .order_by("-kind")
    ):
        holders.setdefault(target.instance_id, []).append(target)
    return [InstanceRow(instance=instance, holders=holders.get(instance.pk, ())) for instance in listed]


def with_ways(service: Service, listed: Sequence[InstanceRow]) -> list[InstanceRow]:
    """The service's rows, with what can be offered for each of them."""
    ages = version_ages(service)
    left = _left_versions([row.instance.pk for row in listed])
    return [replace(row, ages=ages, left_version=left.get(row.instance.pk, "")) for row in listed]


def _left_versions(instances: Sequence[int]) -> Mapping[int, str]:
    """Of those whose last completed switch was a rollback, what it took them from, as far as its package is known."""
    completed = Target.objects.filter(
        instance__in=instances, status=TargetStatus.COMPLETED, operation__until=Until.SWITCHED
    )
    last = completed.order_by("instance_id", "-pk").distinct("instance_id")
    known = Package.objects.filter(service=OuterRef("operation__service"), version=OuterRef("previous_version"))
    rows = last.values_list("instance_id", "kind", "previous_version", Exists(known))
    return {pk: version for pk, kind, version, is_known in rows if kind == Kind.ROLLBACK and is_known}


def timeline(service: Service) -> list[OperationRow]:
    """The service's newest operations, the unfinished ones and what undid them among them."""
    operations = Operation.objects.filter(service=service).select_related("undoes").order_by("-pk")
    return rows(operations[:_TIMELINE])


def service_mark(service: Service) -> str:
    """Changes when what the service's page shows may have."""
    unfinished = Operation.objects.filter(service=service, finished_at__isnull=True)
    found = unfinished.aggregate(newest=Max("pk"), count=Count("pk"), stopping=Count("cancel_requested_at"))
    newest = Operation.objects.filter(service=service).order_by("-pk").values_list("pk", "finished_at").first()
    changed = (
        Instance.objects.listed()
        .filter(service=service)
        .aggregate(changed=Max("changed_at"), health=Max("health_at"), count=Count("pk"))
    )
    moved = StatusChange.objects.order_by("-pk").values_list("pk", flat=True).first() if found["count"] else 0
    return ".".join(
        str(part.timestamp() if isinstance(part, datetime) else part or 0)
        for part in (
            newest[0] if newest else 0, newest[1] if newest else 0, found["count"], found["stopping"],
            changed["changed"], changed["health"], changed["count"], moved,
        )
    )  # fmt: skip
