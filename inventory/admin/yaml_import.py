"""An inventory file, brought in through the browser: looked at first, then confirmed."""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from inventory.admin.base import ScopedAdmin, sees_all
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import InventoryFileError
from inventory.editing.file.report import ImportReport
from inventory.editing.forms import InventoryFileForm
from inventory.models import Instance, Node, Service
from inventory.security.access import access_of

# The confirming POST carries the file; Django takes 2.5 MB in fields. Larger files go through the command.
MOST_BYTES = 2_000_000


class YamlImport(ScopedAdmin):
    """A page under each of services, nodes and instances, since a file holds all of them."""

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_import_yaml"
        return [path("import-yaml/", self.admin_site.admin_view(self.import_yaml), name=name), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"may_import": self._may_import(request), **(extra_context or {})})

    def import_yaml(self, request: HttpRequest) -> HttpResponse:
        if not self._may_import(request):
            raise PermissionDenied
        form = InventoryFileForm()
        context: dict[str, Any] = {"title": _("Import an inventory file"), "opts": self.opts}
        if request.method == "POST" and "text" in request.POST:
            name, data = request.POST.get("name", "inventory.yaml"), request.POST["text"].encode()
            if (done := self._bring_in(request, name, data, context)) is not None:
                return done
        elif request.method == "POST":
            form = InventoryFileForm(request.POST, request.FILES)
            if form.is_valid():
                file = form.cleaned_data["file"]
                self._preview(request, file.name, file.read(MOST_BYTES + 1), context)
        context |= {**self.admin_site.each_context(request), "form": form}
        return TemplateResponse(request, "admin/inventory/import_yaml.html", context)

    def _may_import(self, request: HttpRequest) -> bool:
        """All three kinds of rows at once, of every service: the file may hold any."""
        admins = (self.admin_site.get_model_admin(model) for model in (Service, Node, Instance))
        may_edit = all(each.has_add_permission(request) and each.has_change_permission(request) for each in admins)
        return may_edit and sees_all(request)

    def _preview(self, request: HttpRequest, name: str, data: bytes, context: dict[str, Any]) -> None:
        """Adds the report and what the confirming form carries to the context, or the problems."""
        if len(data) > MOST_BYTES:
            limit = _("The file is larger than %(limit)d bytes; use the command import_inventory for it.")
            context["problems"] = [limit % {"limit": MOST_BYTES}]
            return
        try:
            report = import_inventory(data, filename=name, actor=access_of(request).actor, dry_run=True)
        except InventoryFileError as error:
            context["problems"] = [problem.detail for problem in error.problems]
            return
        context |= {"report": report, "name": name, "text": data.decode("utf-8-sig"), "plan": _digest(report)}

    def _bring_in(self, request: HttpRequest, name: str, data: bytes, context: dict[str, Any]) -> HttpResponse | None:
        """Does what was previewed. If the world has moved since, previews anew instead."""
        self._preview(request, name, data, context)
        if "report" not in context:
            return None
        if context["plan"] != request.POST.get("plan"):
            messages.warning(request, _("The inventory has changed since the preview; this is a new one."))
            return None
        try:
            report = import_inventory(data, filename=name, actor=access_of(request).actor)
        except InventoryFileError as error:
            del context["report"]
            context["problems"] = [problem.detail for problem in error.problems]
            return None
        messages.success(request, _("Imported %(name)s: %(summary)s.") % {"name": name, "summary": report.summary})
        return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))


def _digest(report: ImportReport) -> str:
    return hashlib.sha256("\n".join(report.lines()).encode()).hexdigest()
