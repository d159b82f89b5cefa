"""What our admin pages share: who may see what, the audit, and lists that stay fast over a million rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from inventory.editing.audit_diff import shown_changes
from inventory.instances import selection
from inventory.models import Node
from inventory.security import audit
from inventory.security.access import access_of

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = admin.ModelAdmin


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than this: counting a million rows takes longer than showing a page of them."""

    MOST_ROWS = 10_000

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows[: self.MOST_ROWS].count() if isinstance(rows, models.QuerySet) else len(rows)


class ScopedAdmin(Base):
    """What all our pages have. Shows what the person's services allow.

    service_path leads from a row to its service's key; '' is for all.
    """

    service_path = ""
    empty_value_display = "—"
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 200

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        queryset = super().get_queryset(request)
        return access_of(request).visible(queryset, self.service_path) if self.service_path else queryset

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Of what is not there yet nothing can be shown: its form has only what is to be filled in."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None:
            return fieldsets
        return tuple(_to_fill_in(fieldsets, self.get_readonly_fields(request)))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        without_side_doors(form.base_fields)
        return form

    # Titles of one word: Django's own sentences name a page after what its buttons say anyhow.

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        title = {"title": capfirst(str(self.opts.verbose_name_plural))}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit, which has what files, commands and calls did as well; Django's own log knows its forms alone."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            raise Http404
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        return redirect(f"{reverse('admin:inventory_auditentry_changelist')}?{urlencode({'q': self.audited_as(obj)})}")

    def audited_as(self, obj: Any) -> str:
        """Its object_id in the audit."""
        return str(obj)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return super().delete_view(request, object_id, {"title": _("Delete"), **(extra_context or {})})


def _to_fill_in(fieldsets: Any, shown: Collection[Any]) -> Iterator[Any]:
    for name, options in fieldsets:
        lines = [
            [field for field in ([line] if isinstance(line, str) else line) if field not in shown]
            for line in options["fields"]
        ]
        if fields := [tuple(line) if len(line) > 1 else line[0] for line in lines if line]:
            yield name, {**options, "fields": fields}


class ForAllServices(Base):
    """Only for who may see all services: it concerns them all."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return sees_all(request) and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return sees_all(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return sees_all(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return sees_all(request) and super().has_delete_permission(request, obj)


class ReadOnlyAdmin(ScopedAdmin):
    """For what the system itself writes."""

    actions = None
    paginator = CappedPaginator
    sortable_by = ()

    def named(self, term: str) -> models.Q:
        """The rows that a search for a whole word means, by indexes alone: a scan of a million rows is too slow."""
        return models.Q(pk__in=())

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(self.named(term)) if term else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RetiredFilter(admin.SimpleListFilter):
    """Retired rows show only when they are asked for."""

    title = _("retired")
    parameter_name = "retired"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return (("yes", _("Retired")), ("all", _("All")))

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Its first choice leaves them out; Django would call that one “All”."""
        first, *others = super().choices(changelist)
        yield {**first, "display": _("In the inventory")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.exclude(retired_at=None) if self.value() == "yes" else queryset.filter(retired_at=None)


class Retiring(Base):
    """What is retired is only read; PUT /v1/inventory and the inventory file bring it back."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        queryset = super().get_queryset(request)
        is_choice = request.resolver_match is not None and request.resolver_match.url_name == "autocomplete"
        return queryset.filter(retired_at=None) if is_choice else queryset

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return getattr(obj, "retired_at", None) is None and super().has_change_permission(request, obj)


class AuditedAdmin(ScopedAdmin):
    """Every edit is in the audit, in the edit's own transaction.

    object_kind: the audit's word for what is edited.
    """

    object_kind = ""

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        entry = super().log_addition(request, obj, message)
        self.record(request, obj, "create")
        return entry

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        entry = super().log_change(request, obj, message)
        self.record(request, obj, "change", changes=getattr(request, "changes_for_audit", {}))
        return entry

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        entries = super().log_deletions(request, queryset)
        for obj in queryset:
            self.record(request, obj, "delete")
        return entries

    def record(self, request: HttpRequest, obj: models.Model, verb: str, **detail: Any) -> None:
        audit.record(
            actor=access_of(request).actor,
            action=f"{self.object_kind}.{verb}",
            object_kind=self.object_kind,
            object_id=self.audited_as(obj),
            service=self.service_of(obj),
            detail=detail,
        )

    def service_of(self, obj: Any) -> str:
        return ""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        request.changes_for_audit = shown_changes(form, formsets or ())  # type: ignore[attr-defined]
        return super().construct_change_message(request, form, formsets, add)


def sees_all(request: HttpRequest) -> bool:
    return access_of(request).services is None


def visible_nodes(request: HttpRequest) -> models.QuerySet[Node]:
    return selection.visible_nodes(access_of(request))


def without_side_doors(fields: Mapping[str, Any]) -> None:
    """Take away the pop-ups beside a choice, which add, edit or delete what is chosen from."""
    for field in fields.values():
        if isinstance(field.widget, RelatedFieldWidgetWrapper):
            for door in ("can_add_related", "can_change_related", "can_delete_related", "can_view_related"):
                setattr(field.widget, door, False)
