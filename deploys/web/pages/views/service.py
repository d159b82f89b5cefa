"""A service's page: its instances, and its latest operations beside them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from deploys.operations.held import active_hold
from deploys.web.pages.queries import service as queries
from deploys.web.pages.queries.holds import holds_mark
from inventory.console.pages import Pages, is_fragment, page
from inventory.instances.selection import visible_service
from inventory.security.access import access_of


@page()
def show(request: HttpRequest, name: str) -> HttpResponse:
    service = visible_service(access_of(request), name)
    hold = active_hold(service)
    mark = f"{queries.service_mark(service)}.{holds_mark([hold] if hold else [])}"
    if is_fragment(request) and request.GET.get("mark") == mark:
        return HttpResponse(status=204)
    figures = queries.figures(service)
    wanted = queries.InstanceFilter.of(request.GET)
    matching = wanted.matching(service)
    total = figures.total if wanted.is_empty else matching.count()
    pages = Pages.of(request.GET, total=total, size=queries.PAGE_SIZE)
    context = {
        "service": service,
        "figures": figures,
        "wanted": wanted,
        "pages": pages,
        "rows": queries.with_ways(service, queries.instance_rows(matching, pages)),
        "hold": hold,
        "timeline": queries.timeline(service),
        "mark": mark,
    }
    return render(request, "deploys/_service_live.html" if is_fragment(request) else "deploys/service.html", context)
