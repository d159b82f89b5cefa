"""The rows of an admin list as CSV (RFC 4180), one at a time. CSV goes out only; YAML comes in."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import path, reverse

from inventory.admin.base import ScopedAdmin
from inventory.editing.file.document import SECTIONS

# How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection").
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_ROWS_A_QUERY = 2000
_SECTIONS = {"jumphost": "jump_hosts"}
_NAMES = {"service": "service__name", "node": "node__name", "jump": "jump__name"}


class CsvExport(ScopedAdmin):
    """The columns are the keys of the inventory file, the rows those that the list shows."""

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", self.admin_site.admin_view(self.export), name=name), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))
        section = _SECTIONS.get(str(self.opts.model_name), f"{self.opts.model_name}s")
        headers = {"Content-Disposition": f'attachment; filename="{section}.csv"'}
        return StreamingHttpResponse(_lines(tuple(SECTIONS[section]), rows), content_type="text/csv", headers=headers)


class _Echo:
    """What csv writes to: hands each line back to who writes it."""

    def write(self, line: str) -> str:
        return line


def _lines(columns: tuple[str, ...], rows: QuerySet[Any]) -> Iterator[str]:
    write = csv.writer(_Echo()).writerow
    yield write(columns)
    values = rows.values_list(*(_NAMES.get(column, column) for column in columns))
    for row in values.iterator(chunk_size=_ROWS_A_QUERY):
        yield write(_cells(row))


def _cells(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        yield f"'{text}" if _FORMULA.match(text) else text
