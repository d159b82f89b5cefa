"""What is wrong with a service's instances, for the list of services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from inventory.admin.columns import chip, side_by_side
from inventory.drift import DRIFTED
from inventory.models import Health, Instance, RunStatus, Service

# Of its instances. One may be several of these.
_KINDS = {
    "failed": Q(run_status=RunStatus.FAILED),
    "unhealthy": Q(health=Health.UNHEALTHY),
    "stopped": Q(run_status=RunStatus.STOPPED),
    "drifted": DRIFTED,
    "unknown": Q(run_status=RunStatus.UNKNOWN),
}
_TROUBLE = _KINDS["failed"] | _KINDS["unhealthy"] | _KINDS["stopped"] | _KINDS["drifted"]


def with_counts(services: QuerySet[Any]) -> QuerySet[Any]:
    """With how many instances of each kind there are, under the kind's name."""
    counted: QuerySet[Any] = services.annotate(**{kind: _count(where) for kind, where in _KINDS.items()})
    return counted


def state_of(service: Any) -> SafeString:
    """service: one of `with_counts`, with its `instance_count`."""
    if troubles := list(_troubles(service)):
        return side_by_side(troubles)
    if not service.instance_count:
        return chip(_("No instances"), icon_name="dashed")
    if service.unknown:
        text = ngettext("%(count)d unknown", "%(count)d unknown", service.unknown)
        return chip(text % {"count": service.unknown}, icon_name="question")
    return chip(RunStatus.RUNNING.label, icon_name="play", tone="ok")


class TroubleFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return (("trouble", gettext_lazy("Something is wrong")),)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Service]) -> QuerySet[Service]:
        if self.value() != "trouble":
            return queryset
        return queryset.filter(pk__in=Instance.objects.listed().filter(_TROUBLE).values("service"))


def _count(where: Q) -> Coalesce:
    own = Instance.objects.listed().filter(where, service=OuterRef("pk")).order_by().values("service")
    return Coalesce(Subquery(own.annotate(count=Count("pk")).values("count"), output_field=IntegerField()), 0)


def _troubles(service: Any) -> Iterator[SafeString]:
    if count := service.failed:
        yield chip(
            ngettext("%(count)d failed", "%(count)d failed", count) % {"count": count}, icon_name="x", tone="fail"
        )
    if count := service.unhealthy:
        text = ngettext("%(count)d unhealthy", "%(count)d unhealthy", count)
        yield chip(text % {"count": count}, icon_name="alert", tone="fail")
    if count := service.stopped:
        text = ngettext("%(count)d stopped", "%(count)d stopped", count)
        yield chip(text % {"count": count}, icon_name="stop", tone="warn")
    if count := service.drifted:
        text = ngettext("%(count)d drifted", "%(count)d drifted", count)
        yield chip(text % {"count": count}, icon_name="drift", tone="warn")
