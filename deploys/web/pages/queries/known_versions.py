"""The versions of a service that can be deployed without naming a package: those that packages are pinned for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, QuerySet

from deploys.models import Operation, Package
from deploys.states import OperationStatus, Until
from inventory.models import Instance, Service

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class KnownVersion:
    """runs_on: how many of the instances meant run it. succeeded_at: when an operation last brought it everywhere it should."""

    version: str
    runs_on: int
    succeeded_at: datetime | None


def known_versions(service: Service, instances: QuerySet[Instance]) -> Sequence[KnownVersion]:
    """The newest, by three queries."""
    packages = Package.objects.filter(service=service).order_by().values_list("version")
    versions = [version for version, _newest in packages.annotate(newest=Max("pk")).order_by("-newest")[:_SHOWN]]
    running = instances.filter(running_version__in=versions).order_by().values_list("running_version")
    runs_on = dict(running.annotate(count=Count("pk")))
    completed = Operation.objects.filter(
        service=service, version__in=versions, status=OperationStatus.COMPLETED, until=Until.SWITCHED
    )
    succeeded_at = dict(completed.order_by().values_list("version").annotate(at=Max("finished_at")))
    return [
        KnownVersion(version=version, runs_on=runs_on.get(version, 0), succeeded_at=succeeded_at.get(version))
        for version in versions
    ]
