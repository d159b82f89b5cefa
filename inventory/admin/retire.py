"""The button that retires a node or an instance: first a page that says what it means, then the doing."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from inventory.admin.base import Retiring
from inventory.errors import Conflict
from inventory.security.access import Access, access_of


class RetireButton(Retiring):
    def retire(self, access: Access, obj: Any) -> None:
        """Raises Conflict, with all that is in the way."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view(self.retire_view), f"inventory_{self.opts.model_name}_retire"
        return [path("<int:pk>/retire/", view, name=name), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        extra = {**self._button(request, object_id), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return super().delete_view(request, object_id, {**self._button(request, object_id), **(extra_context or {})})

    def _button(self, request: HttpRequest, object_id: str) -> dict[str, str]:
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_change_permission(request, obj):
            return {}
        return {"retire_url": reverse(f"admin:inventory_{self.opts.model_name}_retire", args=[obj.pk])}

    def retire_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        obj = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, obj):
            raise PermissionDenied
        problems: Any = ()
        if request.method == "POST":
            try:
                self.retire(access_of(request), obj)
            except Conflict as conflict:
                problems = conflict.problems
            else:
                messages.success(request, _("%(name)s is retired.") % {"name": obj})
                return HttpResponseRedirect(reverse(f"admin:inventory_{self.opts.model_name}_changelist"))
        context = {**self.admin_site.each_context(request), "opts": self.opts, "object": obj, "problems": problems}
        page = {**context, "title": _("Retire")}
        return TemplateResponse(request, "admin/inventory/retire.html", page, status=409 if problems else None)
