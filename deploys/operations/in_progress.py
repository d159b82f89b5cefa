"""What inventory may know of operations: who holds an instance (`inventory.instances.in_progress`)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from deploys.models import Operation, Target
from deploys.operations.busy import busy_problems
from deploys.operations.confirm import look_after_waiting
from deploys.states import ACTIVE, Kind, TargetStatus
from inventory.errors import Problem
from inventory.instances.in_progress import Holder, Operations


class OurOperations(Operations):
    def holders(self, *, instances: Collection[int] | None = None, service: int | None = None) -> dict[int, Holder]:
        targets = Target.objects.filter(status__in=ACTIVE)
        if instances is not None:
            targets = targets.filter(instance__in=list(instances))
        if service is not None:
            targets = targets.filter(operation__service=service, operation__finished_at=None)
        found: dict[int, Holder] = {}
        # A rollback, listed behind a deploy, takes its place.
        rows = targets.order_by("kind").values_list("instance_id", "operation__public_id", "kind", "status")
        for pk, operation, kind, status in rows:
            has_begun = status == TargetStatus.IN_PROGRESS or (pk in found and found[pk].has_begun)
            found[pk] = Holder(operation, kind, has_begun)
        return found

    def problems(self, instances: Collection[int]) -> list[Problem]:
        return busy_problems(Kind.DEPLOY, list(instances))

    def ended_since(self, instances: Collection[int], since: datetime) -> set[int]:
        ended = Target.objects.filter(instance__in=list(instances), finished_at__gte=since)
        return set(ended.values_list("instance_id", flat=True))

    def remember(self, *, instance: int | None = None, service: int | None = None) -> bool:
        targets = Target.objects.filter(instance=instance)
        return targets.exists() or Operation.objects.filter(service=service).exists()

    def look_after(self, service: int) -> None:
        look_after_waiting(service)

    def label(self, status: str) -> str:
        return str(TargetStatus(status).label) if status in TargetStatus.values else status
