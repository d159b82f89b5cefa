"""Jump hosts: the SSH servers that stand between workers and nodes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.admin.base import ForAllServices
from inventory.admin.columns import fingerprint_cell
from inventory.admin.ssh_servers import SshServerAdmin
from inventory.editing.forms import JumpHostForm
from inventory.models import JumpHost, natural_key
from inventory.nodes.check import Connection, try_jump_host
from inventory.nodes.transports.jump_address import JumpAddress


@admin.register(JumpHost)
class JumpHostAdmin(ForAllServices, SshServerAdmin):
    """They decide, as nodes do, where the commands of all services run."""

    object_kind = "jump_host"
    form = JumpHostForm
    list_display = ("name", "host", "ssh_user", "ssh_port", "fingerprint", "jump")
    list_select_related = ("jump",)
    ordering = (natural_key("name"),)
    search_fields = ("name", "host")
    readonly_fields = ("fingerprint", "created_at")
    fieldsets = (
        (None, {"fields": ("name",)}),
        (gettext_lazy("How it is reached"), {"fields": (("host", "ssh_port"), "ssh_user", "jump")}),
        (gettext_lazy("Host key"), {"fields": ("ssh_host_key",), "classes": ("host-key",)}),
        (gettext_lazy("What is known of it"), {"fields": (("fingerprint", "created_at"),)}),
    )

    @admin.display(description=gettext_lazy("host key"))
    def fingerprint(self, host: JumpHost) -> str:
        return fingerprint_cell(host.ssh_host_key)

    def history_of(self, obj: Any) -> str:
        behind = [str(each) for each in [*obj.nodes.all()[:3], *obj.behind.all()[:3]]][:3]
        if not behind:
            return ""
        text = _("%(name)s is the way to %(behind)s: say how else these are reached, or delete them first.")
        return text % {"name": obj, "behind": ", ".join(behind)}

    def tried(self, server: Any, *, is_as_stored: bool) -> Connection:
        return try_jump_host(JumpAddress.of(server))

    def reached(self, server: Any, milliseconds: int) -> str:
        text = _("%(name)s was reached within %(time)d ms, and let us log in.")
        return text % {"name": server.name or server.host, "time": milliseconds}
