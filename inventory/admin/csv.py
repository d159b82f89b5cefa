"""CSV in, with a preview, and out."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from import_export.admin import ImportExportMixin
from import_export.formats.base_formats import CSV
from import_export.results import RowResult

from inventory.security import audit
from inventory.security.access import access_of

_VERBS = {RowResult.IMPORT_TYPE_NEW: "create", RowResult.IMPORT_TYPE_UPDATE: "change"}


class CsvMixin(ImportExportMixin):  # type: ignore[misc]  # import-export has no types
    """For an `InventoryAdmin`. Exporting goes straight to the file: every column, of the rows that the list shows."""

    formats = (CSV,)
    skip_export_form = True
    # Its templates extend the admin's own, and leave room for more buttons.
    import_export_change_list_template = "admin/inventory/change_list.html"

    def has_import_permission(self, request: HttpRequest) -> bool:
        may_edit = self.has_add_permission(request) and self.has_change_permission(request)
        return bool(may_edit) and access_of(request).services is None

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_view_permission(request))

    def get_import_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_import_resource_kwargs(request, **kwargs), "actor": access_of(request).actor}

    def generate_log_entries(self, result: Any, request: HttpRequest) -> None:
        super().generate_log_entries(result, request)
        events = [
            audit.Event(
                action=f"{self.object_kind}.{_VERBS[row.import_type]}",
                object_kind=self.object_kind,
                object_id=str(row.instance),
                service=self.service_of(row.instance),
                detail={"file": "CSV"},
            )
            for row in result
            if row.import_type in _VERBS
        ]
        audit.record_all(actor=access_of(request).actor, events=events)
