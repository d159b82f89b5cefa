"""What the admin pages of services, nodes and instances share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.admin.base import AuditedAdmin
from inventory.admin.csv_export import CsvExport
from inventory.admin.yaml_import import YamlImport
from inventory.editing.relocation import lock_inventory
from inventory.security.access import access_of


class InventoryAdmin(YamlImport, CsvExport, AuditedAdmin):
    """One edit at a time, only what was edited is written, history stays."""

    change_list_template = "admin/inventory/list_with_files.html"

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        with transaction.atomic():
            lock_inventory()
            return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.save(force_insert=True)
        elif form.changed_data:
            # Not the other columns: an operation may have changed them since the row was read.
            obj.save(update_fields=form.changed_data)

    def history_of(self, obj: Any) -> str:
        """Why obj must stay, or '' when it may go."""
        return ""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Says in one line what holds each object, instead of listing the thousands of rows that refer to it."""
        reasons = [reason for obj in objs if (reason := self.history_of(obj))]
        if reasons:
            count = {str(self.opts.verbose_name_plural): len(objs)}
            return [str(obj) for obj in objs], count, set(), reasons
        return super().get_deleted_objects(objs, request)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._delete(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        self._delete(request, queryset)

    def _delete(self, request: HttpRequest, objs: Iterable[Any]) -> None:
        try:
            with transaction.atomic():
                for obj in objs:
                    obj.delete()
        except models.ProtectedError:
            messages.error(request, _("Nothing was deleted: something else refers to it now."))


class CountsInstances(InventoryAdmin):
    """Its list has a column for the number of each row's instances."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        queryset = super().get_queryset(request)
        return queryset.annotate(instance_count=_instances_of(request)) if self.is_list(request) else queryset

    def is_list(self, request: HttpRequest) -> bool:
        """Autocomplete asks for these rows too, and needs no counts."""
        pages = {f"inventory_{self.opts.model_name}_{page}" for page in ("changelist", "export")}
        return request.resolver_match is not None and request.resolver_match.url_name in pages

    @admin.display(description=gettext_lazy("instances"), ordering="instance_count")
    def instance_count(self, row: Any) -> int:
        return int(row.instance_count)


def _instances_of(request: HttpRequest) -> models.Count:
    """Of one's own services: on a node there may be others' too."""
    services = access_of(request).services
    counted = models.Q(instances__retired_at=None)
    return models.Count(
        "instances", filter=counted if services is None else counted & models.Q(instances__service__in=services)
    )
