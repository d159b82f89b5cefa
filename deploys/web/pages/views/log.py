"""An operation's log: the live tail, earlier and later parts, and the whole of it as a file."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from deploys.models import Operation
from deploys.operations.queries import visible_operation
from deploys.states import Kind
from deploys.web.pages.queries import log as queries
from inventory.console.pages import page, word
from inventory.models import Instance
from inventory.security.access import access_of


@page()
def part(request: HttpRequest, kind: str, public_id: str) -> HttpResponse:
    """Lines `?after=` or `?before=` a cursor. 204: nothing new; the tail stops when the operation has ended."""
    operation = visible_operation(access_of(request), Kind(kind), public_id)
    instance = chosen_instance(request, operation)
    if "before" in request.GET:
        found = queries.before(operation, instance, _cursor(request, "before"))
        return render(request, "deploys/_log_earlier.html", log_context(request, operation, found))
    # The operation was read first: lines that it wrote before its end are all there when it says that it has ended.
    found = queries.after(operation, instance, _cursor(request, "after"))
    if not found.lines and operation.finished_at is None:
        return HttpResponse(status=204)
    return render(request, "deploys/_log_later.html", log_context(request, operation, found))


@page()
def download(request: HttpRequest, kind: str, public_id: str) -> StreamingHttpResponse:
    operation = visible_operation(access_of(request), Kind(kind), public_id)
    response = StreamingHttpResponse(queries.whole_log(operation), content_type="text/plain; charset=utf-8")
    name = public_id.replace(":", "_")
    response["Content-Disposition"] = f'attachment; filename="{kind}-{name}.log"'
    return response


def chosen_instance(request: HttpRequest, operation: Operation) -> Instance | None:
    """The one whose lines alone are asked for."""
    name = word(request.GET, "instance")
    return Instance.objects.filter(instance_id=name, service=operation.service_id).first() if name else None


def log_context(request: HttpRequest, operation: Operation, found: queries.LogPart) -> dict[str, Any]:
    return {
        "operation": operation,
        "part": found,
        "log_instance": chosen_instance(request, operation),
        "tails": operation.finished_at is None and not found.has_later,
    }


def _cursor(request: HttpRequest, name: str) -> int:
    value = request.GET.get(name, "0")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 18 else 0
