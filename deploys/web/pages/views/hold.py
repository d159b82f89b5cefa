"""Hold a service, by a form that asks why; release it, by a button."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from deploys.operations.held import active_hold
from deploys.operations.hold import hold_service, release_service
from deploys.web.pages.forms import HoldForm
from inventory.console.pages import page
from inventory.instances.selection import visible_service
from inventory.security.access import Scope, access_of


@page(Scope.DEPLOY)
def hold(request: HttpRequest, name: str) -> HttpResponse:
    """One that is held already is left as it is: its page says who holds it."""
    access = access_of(request)
    service = visible_service(access, name)
    if active_hold(service) is not None:
        messages.warning(request, _("The service is held already."))
        return redirect("service", name=name)
    form = HoldForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "deploys/hold.html", {"service": service, "form": form})
    hours = form.cleaned_data["hours"]
    until = timezone.now() + timedelta(hours=hours) if hours else None
    hold_service(access=access, service_name=name, reason=form.cleaned_data["reason"], until=until)
    messages.success(request, _("The service is held: no deploy of it starts."))
    return redirect("service", name=name)


@require_POST
@page(Scope.DEPLOY)
def release(request: HttpRequest, name: str) -> HttpResponse:
    release_service(access=access_of(request), service_name=name)
    messages.success(request, _("The service is released: deploys of it start again."))
    return redirect("service", name=name)
