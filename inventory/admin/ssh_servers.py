"""What the forms of SSH servers ask: for the host key of the server that they describe, and whether it can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncssh
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from inventory.admin.editing import InventoryAdmin
from inventory.editing.forms import HostKeyForm
from inventory.models import JumpHost, TransportKind
from inventory.nodes.check import Connection
from inventory.nodes.host_keys import fetch_host_key
from inventory.nodes.transports.base import NodeAddress, TransportError, shown
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.validation import host_key_fingerprint, is_authority, without_comment

# What says where a server is and how one logs in to it.
ADDRESS = frozenset({"host", "transport", "ssh_user", "ssh_port", "ssh_host_key", "jump", "jump_socket"})


class SshServerAdmin(InventoryAdmin):
    """Of nodes and of jump hosts. What is asked is about the form as it was sent, saved or not; nothing is saved by it."""

    change_form_template = "admin/inventory/ssh_server/change_form.html"

    def tried(self, server: Any, *, is_as_stored: bool) -> Connection:
        raise NotImplementedError

    def reached(self, server: Any, milliseconds: int) -> str:
        """What to say of a connection that was tried and is good."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        name = f"inventory_{self.opts.model_name}"
        views = {"host_key": self.host_key, "test": self.test_connection}
        own = []
        for asked, view in views.items():
            guarded = self.admin_site.admin_view(require_POST(view))
            for route in ("", "<int:pk>/"):
                own.append(path(f"{route}{asked.replace('_', '-')}/", guarded, name=f"{name}_{asked}"))
        return [*own, *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        server = self.get_object(request, object_id) if object_id else None
        urls = {}
        if self._may_ask(request, server):
            own = [server.pk] if server else []
            urls = {"fetch_url": self._url("host_key", own), "test_url": self._url("test", own)}
        return super().changeform_view(request, object_id, form_url, {**urls, **(extra_context or {})})

    def host_key(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """An empty field is filled with what was fetched; another key that is there is left for a person to replace."""
        self._server(request, pk)
        return render(request, "admin/inventory/ssh_server/host_key.html", self._fetched(request))

    def test_connection(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        server = self._server(request, pk)
        form = self.get_form(request, server, change=server is not None)(request.POST, instance=server)
        form.asks_rules = False  # whether it may be saved now is another question
        context: dict[str, Any] = {"wrong": list(_wrong(form))}
        if not context["wrong"]:
            is_as_stored = pk is not None and ADDRESS.isdisjoint(form.changed_data)
            tried = self.tried(form.instance, is_as_stored=is_as_stored)
            context["problem"] = tried.error
            context["reached"] = "" if tried.error else self.reached(form.instance, tried.milliseconds)
        return render(request, "admin/inventory/ssh_server/tested.html", context)

    def _fetched(self, request: HttpRequest) -> dict[str, Any]:
        stored = without_comment(request.POST.get("ssh_host_key", ""))
        form = HostKeyForm(request.POST)
        if request.POST.get("transport") == TransportKind.LOCAL:
            return {"problem": _("This machine is not reached over ssh: it has no host key to fetch.")}
        if is_authority(stored):
            text = _("It shows certificates of the authority %(key)s: there is no single key to fetch.")
            return {"problem": text % {"key": _shown(stored)}}
        if not form.is_valid():
            return {"wrong": list(_wrong(form))}
        try:
            key = fetch_host_key(_unnamed(**form.cleaned_data))
        except TransportError as error:
            return {"problem": error.message}
        filled = self.get_form(request)(initial={"ssh_host_key": key})["ssh_host_key"]
        return {
            "host": form.cleaned_data["host"],
            "port": form.cleaned_data["ssh_port"],
            "key": key,
            "fetched": host_key_fingerprint(key),
            "stored": _shown(stored),
            "key_field": filled.as_widget(attrs={"hx-swap-oob": "true"}),
        }

    def _may_ask(self, request: HttpRequest, server: Any) -> bool:
        if server is None:
            return self.has_add_permission(request)
        return self.has_change_permission(request, server)

    def _server(self, request: HttpRequest, pk: int | None) -> Any:
        """The stored row, None of one that is to be added. Raises PermissionDenied, Http404."""
        server = None if pk is None else get_object_or_404(self.get_queryset(request), pk=pk)
        if not self._may_ask(request, server):
            raise PermissionDenied
        return server

    def _url(self, asked: str, arguments: list[int]) -> str:
        return reverse(f"admin:inventory_{self.opts.model_name}_{asked}", args=arguments)


def _wrong(form: Any) -> Iterator[tuple[str, str]]:
    """The label and the text of each error that keeps the server from being asked."""
    for name, errors in form.errors.items():
        if name in ADDRESS:
            yield from ((str(form.fields[name].label), text) for text in errors)


def _shown(host_key: str) -> str:
    """Its fingerprint; of what is no key, how it begins."""
    try:
        return host_key_fingerprint(host_key)
    except (asyncssh.KeyImportError, ValueError):
        return f"“{shown(host_key, 60)}”"


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
