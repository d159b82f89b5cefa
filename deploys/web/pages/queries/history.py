"""All operations, newest first, by pages that cost the same however far back they lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery

from deploys.models import Operation, Target
from deploys.operations.progress import with_status
from deploys.web.pages.queries.rows import OperationRow, rows
from inventory.models import Service
from inventory.security.access import Access

PAGE_SIZE = 50


@dataclass(frozen=True, kw_only=True)
class HistoryFilter:
    """'' and None leave a criterion out. before, after: cursors, primary keys of operations."""

    service: str = ""
    kind: str = ""
    status: str = ""
    version: str = ""
    who: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    after: int | None = None

    def matching(self, access: Access) -> QuerySet[Operation]:
        operations = access.visible(Operation.objects.all())
        if self.service:
            operations = operations.filter(service__in=_services_named(access, self.service))
        if self.kind:
            operations = operations.filter(kind=self.kind)
        if self.version:
            operations = operations.filter(version=self.version)
        if self.who:
            operations = operations.filter(requested_by__icontains=self.who)
        if self.since:
            operations = operations.filter(started_at__gte=self.since)
        if self.until:
            operations = operations.filter(started_at__lt=self.until)
        return with_status(operations, self.status) if self.status else operations


def _services_named(access: Access, name: str) -> list[int]:
    """The one of that name; where there is none, those that have it in theirs."""
    services = access.visible(Service.objects.all(), "pk")
    exact = services.filter(name=name).values_list("pk", flat=True)
    return list(exact) or list(services.filter(name__icontains=name).values_list("pk", flat=True))


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """newer, older: cursors of the pages beside this one, None at an end."""

    rows: list[OperationRow]
    newer: int | None
    older: int | None


def history(access: Access, wanted: HistoryFilter) -> HistoryPage:
    # Of any one target: what most came from would cost a look at all of them.
    came_from = (
        Target.objects.filter(operation=OuterRef("pk"), is_latest=True)
        .exclude(previous_version="")
        .order_by()
        .values("previous_version")
    )
    undone_by = Operation.objects.order_by("pk").only("pk", "kind", "public_id", "undoes_id")
    operations = (
        wanted.matching(access)
        .annotate(came_from=Subquery(came_from[:1]))
        .select_related("service", "undoes")
        .prefetch_related(Prefetch("undone_by", queryset=undone_by))
    )
    if wanted.after is not None:
        found = list(operations.filter(pk__gt=wanted.after).order_by("pk")[: PAGE_SIZE + 1])
        listed, has_newer, has_older = found[:PAGE_SIZE][::-1], len(found) > PAGE_SIZE, True
    else:
        if wanted.before is not None:
            operations = operations.filter(pk__lt=wanted.before)
        found = list(operations.order_by("-pk")[: PAGE_SIZE + 1])
        listed, has_newer, has_older = found[:PAGE_SIZE], wanted.before is not None, len(found) > PAGE_SIZE
    return HistoryPage(
        rows=rows(listed),
        newer=listed[0].pk if listed and has_newer else None,
        older=listed[-1].pk if listed and has_older else None,
    )
