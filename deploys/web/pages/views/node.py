"""A node's page: how it is reached, and what runs there of whichever service."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from deploys.web.pages.queries.search import visible_nodes
from deploys.web.pages.queries.service import PAGE_SIZE, instance_rows
from inventory.console.pages import Pages, page
from inventory.models import Instance
from inventory.security.access import access_of


@page()
def show(request: HttpRequest, node_name: str) -> HttpResponse:
    access = access_of(request)
    node = get_object_or_404(visible_nodes(access), name=node_name)
    instances = access.visible(Instance.objects.listed().filter(node=node))
    pages = Pages.of(request.GET, total=instances.count(), size=PAGE_SIZE)
    rows = instance_rows(instances.select_related("service"), pages)
    return render(request, "deploys/node.html", {"node": node, "rows": rows, "pages": pages})
