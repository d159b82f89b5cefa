"""Nodes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.admin.base import ForAllServices, RetiredFilter, Retiring, sees_all, visible_nodes
from inventory.admin.editing import CountsInstances
from inventory.admin.ssh_servers import SshServerAdmin
from inventory.editing.forms import NodeForm
from inventory.models import Node
from inventory.nodes.check import Connection, try_connection
from inventory.nodes.transports.base import NodeAddress
from inventory.nodes.transports.ssh_hops import Address
from inventory.validation import host_key_fingerprint


@admin.register(Node)
class NodeAdmin(Retiring, ForAllServices, SshServerAdmin, CountsInstances):
    """A node's login and address decide where the commands of all its services run. Limited people only read theirs."""

    object_kind = "node"
    form = NodeForm
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
    list_filter = (RetiredFilter, "transport", ("jump", admin.RelatedOnlyFieldListFilter), "delivery")
    list_select_related = ("jump",)
    search_fields = ("name", "host")
    readonly_fields = ("fingerprint", "seen_at", "retired_at", "created_at")

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
        if obj.instances.listed().exists():
            return _("%(name)s has instances: delete or move those first.") % {"name": obj}
        if obj.instances.exists():
            text = _("%(name)s had instances, whose history is kept: retire it instead (DELETE /v1/node/%(name)s).")
            return text % {"name": obj}
        return ""

    def address_of(self, obj: Any) -> Address:
        return NodeAddress.of(obj)

    def tried(self, obj: Any) -> Connection:
        roots = list(obj.instances.listed().order_by("pk").values_list("deploy_root", flat=True))
        tried = try_connection(NodeAddress.of(obj), roots)
        if not tried.error:
            Node.objects.filter(pk=obj.pk).update(seen_at=Now())
        return tried

    def reached(self, obj: Any, milliseconds: int) -> str:
        text = _("%(name)s was reached within %(time)d ms, and has all that a deploy needs.")
        return text % {"name": obj, "time": milliseconds}
