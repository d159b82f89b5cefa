"""What the admin does with SSH servers: their host keys are fetched, looked at and accepted, and their connections tried."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from inventory.admin.editing import InventoryAdmin
from inventory.editing.forms import HostKeyForm
from inventory.models import JumpHost
from inventory.nodes.check import Connection
from inventory.nodes.host_keys import fetch_host_key
from inventory.nodes.transports.base import NodeAddress, TransportError
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.ssh_hops import Address
from inventory.validation import host_key_fingerprint, is_authority

_ACCEPT_WITHIN_SECONDS = 600
_SALTS = {"node": "inventory.host-key", "jumphost": "inventory.host-key.jump"}


class SshServerAdmin(InventoryAdmin):
    """Of nodes and of jump hosts."""

    change_form_template = "admin/inventory/ssh_server/change_form.html"

    def address_of(self, obj: Any) -> Address:
        raise NotImplementedError

    def tried(self, obj: Any) -> Connection:
        raise NotImplementedError

    def reached(self, obj: Any, milliseconds: int) -> str:
        """What to say of a connection that was tried and is good."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, f"inventory_{self.opts.model_name}"
        own = [
            path("host-key/", view(self.host_key), name=f"{name}_host_key"),
            path("<int:pk>/host-key/", view(self.accept_host_key), name=f"{name}_accept_host_key"),
            path("<int:pk>/test/", view(require_POST(self.test_connection)), name=f"{name}_test"),
        ]
        return [*own, *super().get_urls()]

    def host_key(self, request: HttpRequest) -> HttpResponse:
        """For one that is not there yet: what is found goes into the form that adds it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = HostKeyForm(request.POST or None)
        context: dict[str, Any] = {"form": form, "title": _("Fetch a host key")}
        if form.is_valid():
            given = form.cleaned_data
            context |= self._fetched(_unnamed(**given))
            known = {**given, "jump": given["jump"].pk if given["jump"] else "", "ssh_host_key": context.get("key", "")}
            context["add_url"] = f"{self._url('add')}?{urlencode(known)}"
        return self._page(request, "admin/inventory/ssh_server/fetch_host_key.html", context)

    def accept_host_key(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The first POST fetches and shows; the second, with what was shown signed, saves."""
        server = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, server):
            raise PermissionDenied
        if request.method == "POST" and "accept" in request.POST:
            return self._accept(request, server)
        context: dict[str, Any] = {"server": server, "title": _("Host key of %(name)s") % {"name": server}}
        context["stored"] = host_key_fingerprint(server.ssh_host_key)
        if is_authority(server.ssh_host_key):
            text = _("It shows certificates of the authority %(key)s: there is no single key to fetch.")
            context["problem"] = text % {"key": context["stored"]}
        elif request.method == "POST":
            context |= self._fetched(self.address_of(server))
            context["is_same"] = context.get("key") == server.ssh_host_key
            context["signed"] = signing.dumps([server.pk, context.get("key")], salt=self._salt)
        return self._page(request, "admin/inventory/ssh_server/host_key.html", context)

    def _fetched(self, address: Address) -> dict[str, Any]:
        try:
            key = fetch_host_key(address)
        except TransportError as error:
            return {"problem": error.message}
        return {"key": key, "fetched": host_key_fingerprint(key)}

    def _accept(self, request: HttpRequest, server: Any) -> HttpResponse:
        back = self._url("change", server.pk)
        try:
            pk, key = signing.loads(request.POST["accept"], salt=self._salt, max_age=_ACCEPT_WITHIN_SECONDS)
        except signing.BadSignature:
            pk, key = None, None
        if pk != server.pk or not key:
            messages.error(request, _("That page was too old. Fetch the host key again."))
            return HttpResponseRedirect(back)
        old, new = host_key_fingerprint(server.ssh_host_key), host_key_fingerprint(key)
        with transaction.atomic():
            server.ssh_host_key = key
            server.save(update_fields=["ssh_host_key"])
            self.record(request, server, "accept_host_key", changes={"ssh_host_key": [old, new]})
        messages.success(request, _("The host key %(key)s was accepted.") % {"key": new})
        return HttpResponseRedirect(back)

    def test_connection(self, request: HttpRequest, pk: int) -> HttpResponse:
        server = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, server):
            raise PermissionDenied
        tried = self.tried(server)
        if tried.error:
            messages.error(request, _("%(name)s: %(error)s") % {"name": server, "error": tried.error})
        else:
            messages.success(request, self.reached(server, tried.milliseconds))
        return HttpResponseRedirect(self._url("change", server.pk))

    @property
    def _salt(self) -> str:
        return _SALTS[str(self.opts.model_name)]

    def _url(self, page: str, *arguments: Any) -> str:
        return reverse(f"admin:inventory_{self.opts.model_name}_{page}", args=arguments)

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, template, context)


def _unnamed(*, host: str, ssh_port: int, jump: JumpHost | None, jump_socket: str) -> NodeAddress:
    return NodeAddress(
        name=host,
        host=host,
        transport="ssh",
        ssh_user="",
        ssh_port=ssh_port,
        ssh_host_key="",
        jump=None if jump is None else JumpAddress.of(jump),
        jump_socket=jump_socket,
    )
