"""What stands in a service's deploy roots, for whoever takes it over from another tool."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from deploys.web.pages.queries import adoption as queries
from inventory.console.pages import Pages, page
from inventory.instances.selection import visible_service
from inventory.security.access import access_of


@page()
def show(request: HttpRequest, name: str) -> HttpResponse:
    service = visible_service(access_of(request), name)
    pages = Pages.of(request.GET, total=service.instances.listed().count(), size=queries.PAGE_SIZE)
    context = {"service": service, "pages": pages, "rows": queries.rows(service, pages)}
    return render(request, "deploys/adopt.html", context)
