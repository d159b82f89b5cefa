"""Buttons on a service's page that change no release."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from inventory.console.pages import page
from inventory.instances.sync_queue import request_sync
from inventory.security.access import Scope, access_of


@require_POST
@page(Scope.DEPLOY)
def sync_now(request: HttpRequest, name: str) -> HttpResponse:
    """Read the running version off every instance's node, soon and in the background."""
    service = request_sync(access=access_of(request), service_name=name)
    messages.success(request, _("The versions are being read from the nodes; the results appear on this page."))
    return redirect("service-adopt" if request.POST.get("page") == "adopt" else "service", name=service.name)
