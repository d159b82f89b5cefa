"""Jump hosts: the SSH servers that stand between workers and nodes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.admin.base import ForAllServices
from inventory.admin.ssh_servers import SshServerAdmin
from inventory.editing.forms import JumpHostForm
from inventory.models import JumpHost
from inventory.nodes.check import Connection, try_jump_host
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.ssh_hops import Address
from inventory.validation import host_key_fingerprint


@admin.register(JumpHost)
class JumpHostAdmin(ForAllServices, SshServerAdmin):
    """They decide, as nodes do, where the commands of all services run."""

    object_kind = "jump_host"
    form = JumpHostForm
    list_display = ("name", "host", "ssh_user", "ssh_port", "fingerprint", "jump")
    list_select_related = ("jump",)
    search_fields = ("name", "host")
    readonly_fields = ("fingerprint", "created_at")

    @admin.display(description=gettext_lazy("host key"))
    def fingerprint(self, host: JumpHost) -> str:
        return host_key_fingerprint(host.ssh_host_key)

    def history_of(self, obj: Any) -> str:
        behind = [str(each) for each in [*obj.nodes.all()[:3], *obj.behind.all()[:3]]][:3]
        if not behind:
            return ""
        text = _("%(name)s is the way to %(behind)s: say how else these are reached, or delete them first.")
        return text % {"name": obj, "behind": ", ".join(behind)}

    def address_of(self, obj: Any) -> Address:
        return JumpAddress.of(obj)

    def tried(self, obj: Any) -> Connection:
        return try_jump_host(JumpAddress.of(obj))

    def reached(self, obj: Any, milliseconds: int) -> str:
        text = _("%(name)s was reached within %(time)d ms, and let us log in.")
        return text % {"name": obj, "time": milliseconds}
