"""Who did what, and how it ended."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from deploys.web.pages.forms import HistoryForm
from deploys.web.pages.queries.history import HistoryFilter, history
from inventory.console.pages import is_fragment, page
from inventory.security.access import access_of


@page()
def show(request: HttpRequest) -> HttpResponse:
    form = HistoryForm(request.GET)
    wanted = _filter(form, request)
    context = {
        "form": form,
        "wanted": wanted,
        "found": history(access_of(request), wanted),
        "is_filtered": any(value for key, value in form.data.items() if key not in ("before", "after")),
    }
    return render(request, "deploys/_history_rows.html" if is_fragment(request) else "deploys/history.html", context)


def _filter(form: HistoryForm, request: HttpRequest) -> HistoryFilter:
    """What does not make sense is shown as an error beside its field and left out of the search."""
    form.is_valid()
    asked = form.cleaned_data
    until = asked.get("until")
    return HistoryFilter(
        service=asked.get("service") or "",
        kind=asked.get("kind") or "",
        status=asked.get("status") or "",
        version=asked.get("version") or "",
        who=asked.get("who") or "",
        since=asked.get("since"),
        until=until + timedelta(days=1) if until else None,
        before=_cursor(request, "before"),
        after=_cursor(request, "after"),
    )


def _cursor(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 18 else None
