"""The first page: what runs, what is wrong, what is in progress."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from deploys.operations.database_trouble import database_trouble
from deploys.web.pages.queries.holds import holds_mark, shown_holds
from deploys.web.pages.queries.overview import overview, overview_mark, worker_presence
from inventory.console.pages import Pages, is_fragment, page, word
from inventory.security.access import access_of

PAGE_SIZE = 50
SHOWS = ("attention", "running", "failed", "unhealthy", "drifted")


@page()
def show(request: HttpRequest) -> HttpResponse:
    access = access_of(request)
    show_only = word(request.GET, "show")
    trouble = database_trouble()
    holds = shown_holds(access)
    mark = f"{overview_mark(access)}.{trouble or 'well'}.{holds_mark(holds)}"
    if is_fragment(request) and request.GET.get("mark") == mark:
        return HttpResponse(status=204)
    whole = overview(access)
    services = whole.shown(show_only if show_only in SHOWS else "")
    pages = Pages.of(request.GET, total=len(services), size=PAGE_SIZE)
    context = {
        "overview": whole,
        "services": services[pages.start : pages.end],
        "pages": pages,
        "show": show_only,
        "mark": mark,
        "holds": holds,
        "workers": worker_presence().value,
        "database_trouble": trouble,
    }
    return render(request, "deploys/_overview_live.html" if is_fragment(request) else "deploys/overview.html", context)
