"""Nodes; their host keys are fetched here, looked at and accepted, and their connections tried."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from inventory.admin.base import ForAllServices, sees_all, visible_nodes
from inventory.admin.editing import CountsInstances
from inventory.editing.forms import HostKeyForm, NodeForm
from inventory.models import Node, TransportKind
from inventory.nodes.check import try_connection
from inventory.nodes.host_keys import fetch_host_key
from inventory.nodes.transports.base import NodeAddress, NodeUnreachable
from inventory.validation import host_key_fingerprint

_SALT = "inventory.host-key"
_ACCEPT_WITHIN_SECONDS = 600


@admin.register(Node)
class NodeAdmin(ForAllServices, CountsInstances):
    """A node's login and address decide where the commands of all its services run. Limited people only read theirs."""

    object_kind = "node"
    form = NodeForm
    change_form_template = "admin/inventory/node/change_form.html"
    list_display = (
        "name",
        "host",
        "transport",
        "ssh_user",
        "ssh_port",
        "fingerprint",
        "jump",
        "delivery",
        "instance_count",
    )
    list_filter = ("transport", ("jump", admin.RelatedOnlyFieldListFilter), "delivery")
    list_select_related = ("jump",)
    search_fields = ("name", "host")
    readonly_fields = ("fingerprint", "seen_at", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        queryset: QuerySet[Node] = super().get_queryset(request)
        return queryset if sees_all(request) else queryset.filter(pk__in=visible_nodes(request).values("pk"))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return CountsInstances.has_view_permission(self, request, obj)

    def export(self, request: HttpRequest) -> HttpResponseBase:
        if not sees_all(request):
            raise PermissionDenied
        return super().export(request)

    @admin.display(description=gettext_lazy("host key"))
    def fingerprint(self, node: Node) -> str:
        return host_key_fingerprint(node.ssh_host_key)

    def history_of(self, obj: Any) -> str:
        if obj.instances.exists():
            return _("%(name)s has instances: delete or move those first.") % {"name": obj}
        return ""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("host-key/", view(self.host_key), name="inventory_node_host_key"),
            path("<int:pk>/host-key/", view(self.accept_host_key), name="inventory_node_accept_host_key"),
            path("<int:pk>/test/", view(require_POST(self.test_connection)), name="inventory_node_test"),
        ]
        return [*own, *super().get_urls()]

    def host_key(self, request: HttpRequest) -> HttpResponse:
        """For a node that is not there yet: what is found goes into the form that adds it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = HostKeyForm(request.POST or None)
        context: dict[str, Any] = {"form": form, "title": _("Fetch a host key")}
        if form.is_valid():
            host, port = form.cleaned_data["host"], form.cleaned_data["ssh_port"]
            context |= self._fetched(host, port)
            known = {"host": host, "ssh_port": port, "transport": TransportKind.SSH.value}
            query = urlencode({**known, "ssh_host_key": context.get("key", "")})
            context["add_url"] = f"{reverse('admin:inventory_node_add')}?{query}"
        return self._page(request, "admin/inventory/node/fetch_host_key.html", context)

    def accept_host_key(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The first POST fetches and shows; the second, with what was shown signed, saves."""
        node = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, node):
            raise PermissionDenied
        if request.method == "POST" and "accept" in request.POST:
            return self._accept(request, node)
        context: dict[str, Any] = {"node": node, "title": _("Host key of %(name)s") % {"name": node}}
        context["stored"] = host_key_fingerprint(node.ssh_host_key)
        if request.method == "POST":
            context |= self._fetched(node.host, node.ssh_port)
            context["is_same"] = context.get("key") == node.ssh_host_key
            context["signed"] = signing.dumps([node.pk, context.get("key")], salt=_SALT)
        return self._page(request, "admin/inventory/node/host_key.html", context)

    def _fetched(self, host: str, port: int) -> dict[str, Any]:
        try:
            key = fetch_host_key(host=host, port=port)
        except NodeUnreachable as error:
            return {"problem": error.message}
        return {"key": key, "fetched": host_key_fingerprint(key)}

    def _accept(self, request: HttpRequest, node: Node) -> HttpResponse:
        back = reverse("admin:inventory_node_change", args=[node.pk])
        try:
            pk, key = signing.loads(request.POST["accept"], salt=_SALT, max_age=_ACCEPT_WITHIN_SECONDS)
        except signing.BadSignature:
            pk, key = None, None
        if pk != node.pk or not key:
            messages.error(request, _("That page was too old. Fetch the host key again."))
            return HttpResponseRedirect(back)
        old, new = host_key_fingerprint(node.ssh_host_key), host_key_fingerprint(key)
        with transaction.atomic():
            node.ssh_host_key = key
            node.save(update_fields=["ssh_host_key"])
            self.record(request, node, "accept_host_key", changes={"ssh_host_key": [old, new]})
        messages.success(request, _("The host key %(key)s was accepted.") % {"key": new})
        return HttpResponseRedirect(back)

    def test_connection(self, request: HttpRequest, pk: int) -> HttpResponse:
        node = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, node):
            raise PermissionDenied
        roots = list(node.instances.order_by("pk").values_list("deploy_root", flat=True))
        tried = try_connection(NodeAddress.of(node), roots)
        if tried.error:
            messages.error(request, _("%(name)s: %(error)s") % {"name": node, "error": tried.error})
        else:
            text = _("%(name)s was reached within %(time)d ms, and has all that a deploy needs.")
            messages.success(request, text % {"name": node, "time": tried.milliseconds})
        return HttpResponseRedirect(reverse("admin:inventory_node_change", args=[node.pk]))

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, template, context)
