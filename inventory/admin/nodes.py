"""Nodes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.admin.base import ForAllServices, RetiredFilter, sees_all, visible_nodes
from inventory.admin.columns import chip, fingerprint_cell
from inventory.admin.editing import CountsInstances
from inventory.admin.retire import RetireButton
from inventory.admin.ssh_servers import SshServerAdmin
from inventory.editing.forms import NodeForm
from inventory.editing.retirement import retire_node
from inventory.models import Instance, Node, TransportKind, natural_key
from inventory.nodes.check import Connection, try_connection
from inventory.nodes.transports.base import NodeAddress
from inventory.security.access import Access

# Two rounds of syncing, and a while for the last of them to end.
_ROUNDS, _SLACK = 2, timedelta(minutes=2)


def _recent() -> datetime:
    return timezone.now() - _ROUNDS * timedelta(seconds=settings.SYNC_SECONDS) - _SLACK


class ReachedFilter(admin.SimpleListFilter):
    title = gettext_lazy("reached")
    parameter_name = "reached"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return (
            ("recently", gettext_lazy("Recently")),
            ("not", gettext_lazy("Not recently")),
            ("never", gettext_lazy("Never")),
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Node]) -> QuerySet[Node]:
        match self.value():
            case "recently":
                return queryset.filter(seen_at__gte=_recent())
            case "not":
                return queryset.filter(seen_at__lt=_recent())
            case "never":
                return queryset.filter(seen_at=None)
            case _:
                return queryset


@admin.register(Node)
class NodeAdmin(RetireButton, ForAllServices, SshServerAdmin, CountsInstances):
    """A node's login and address decide where the commands of all its services run. Limited people only read theirs."""

    object_kind = "node"
    form = NodeForm
    list_display = ("name", "reachable", "address", "jump", "delivery", "instance_count")
    list_filter = (
        RetiredFilter,
        ReachedFilter,
        "transport",
        ("jump", admin.RelatedOnlyFieldListFilter),
        "delivery",
    )
    list_select_related = ("jump",)
    ordering = (natural_key("name"),)
    search_fields = ("name", "host")
    readonly_fields = ("fingerprint", "reachable", "seen_at", "retired_at", "created_at")
    fieldsets = (
        (None, {"fields": ("name",)}),
        (
            gettext_lazy("How it is reached"),
            {"fields": ("transport", ("host", "ssh_port"), "ssh_user", ("jump", "jump_socket"))},
        ),
        (gettext_lazy("Host key"), {"fields": ("ssh_host_key",), "classes": ("host-key",)}),
        (gettext_lazy("Packages"), {"fields": ("delivery",)}),
        (
            gettext_lazy("What is known of it"),
            {"fields": (("reachable", "seen_at"), ("fingerprint", "created_at"), "retired_at")},
        ),
    )

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
        return fingerprint_cell(node.ssh_host_key)

    @admin.display(description=gettext_lazy("address"), ordering="host")
    def address(self, node: Node) -> str:
        if node.transport == TransportKind.LOCAL:
            return str(TransportKind.LOCAL.label)
        return f"{node.ssh_user}@{node.jump_socket or node.host}" + (f":{node.ssh_port}" if node.ssh_port != 22 else "")

    @admin.display(description=gettext_lazy("state"), ordering="seen_at")
    def reachable(self, node: Node) -> SafeString:
        if node.retired_at is not None:
            return chip(_("Retired"), icon_name="ban")
        if node.seen_at is None:
            return chip(_("Never reached"), icon_name="question")
        if node.seen_at >= _recent():
            return chip(_("Reached"), icon_name="check", tone="ok")
        at = date_format(timezone.localtime(node.seen_at), "Y-m-d H:i")
        return chip(_("Last reached %(time)s") % {"time": at}, icon_name="clock", tone="warn")

    def history_of(self, obj: Any) -> str:
        if obj.instances.listed().exists():
            return _("%(name)s has instances: delete or move those first.") % {"name": obj}
        if obj.instances.exists():
            return _("%(name)s had instances, whose history is kept: retire it instead.") % {"name": obj}
        return ""

    def retire(self, access: Access, obj: Any) -> None:
        retire_node(access=access, name=obj.name)

    def tried(self, server: Any, *, is_as_stored: bool) -> Connection:
        listed = server.instances.listed().order_by("pk") if server.pk else Instance.objects.none()
        tried = try_connection(NodeAddress.of(server), list(listed.values_list("deploy_root", flat=True)))
        if is_as_stored and not tried.error:
            Node.objects.filter(pk=server.pk).update(seen_at=Now())
        return tried

    def reached(self, server: Any, milliseconds: int) -> str:
        text = _("%(name)s was reached within %(time)d ms, and has all that a deploy needs.")
        return text % {"name": server.name or server.host, "time": milliseconds}
