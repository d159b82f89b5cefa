"""An instance's page: what it runs, and every change of it."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from deploys.models import Operation, Target
from deploys.web.pages.queries import adoption
from inventory.console.pages import page
from inventory.instances.selection import visible_instance
from inventory.models import Instance, StatusChange
from inventory.security.access import access_of

CHANGES = 100
TARGETS = 20


@page()
def show(request: HttpRequest, instance_id: str) -> HttpResponse:
    instance = visible_instance(access_of(request), instance_id, with_retired=True)
    targets = Target.objects.filter(instance=instance).select_related("operation").order_by("-pk")
    context = {
        "instance": instance,
        "node": instance.node,
        "targets": targets[:TARGETS],
        "changes": _changes(instance),
        "seen": adoption.row_of(instance, adoption.known_versions(instance.service)),
        "history": list(reversed(instance.release_history))[:12],
    }
    return render(request, "deploys/instance.html", context)


def _changes(instance: Instance) -> QuerySet[StatusChange]:
    """has_operation: false once that is no longer kept."""
    has_operation = Exists(Operation.objects.filter(pk=OuterRef("operation_id")))
    return (
        StatusChange.objects.filter(instance=instance).annotate(has_operation=has_operation).order_by("-pk")[:CHANGES]
    )
