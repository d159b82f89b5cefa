"""An instance's page: what it runs, and every change of it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from deploys.models import Target
from deploys.web.pages.queries import adoption
from inventory.console.pages import page
from inventory.instances.selection import visible_instance
from inventory.models import StatusChange
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
        "changes": StatusChange.objects.filter(instance=instance).order_by("-pk")[:CHANGES],
        "seen": adoption.row_of(instance, adoption.known_versions(instance.service)),
        "history": list(reversed(instance.release_history))[:12],
    }
    return render(request, "deploys/instance.html", context)
