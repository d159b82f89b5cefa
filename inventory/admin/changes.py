"""Every change of a version, status or health, to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from inventory.admin.base import ReadOnlyAdmin
from inventory.console import looks
from inventory.models import Instance, StatusChange

FAMILIES: dict[str, str] = {"target": "target", "run_status": "run", "health": "health"}


def _shown(change: StatusChange, value: str) -> Any:
    family = FAMILIES.get(change.field)
    return looks.look(family, value).word if family and value else value


@admin.register(StatusChange)
class StatusChangeAdmin(ReadOnlyAdmin):
    service_path = "instance__service_id"
    list_display = ("at", "instance", "field", "before", "after", "operation_name", "actor_name", "note")
    list_display_links = ("at",)
    list_filter = ("field", "actor_kind")
    list_select_related = ("instance",)
    ordering = ("-id",)
    search_fields = ("instance",)
    search_help_text = _("A whole instance id.")

    @admin.display(description=_("before"))
    def before(self, change: StatusChange) -> Any:
        return _shown(change, change.old)

    @admin.display(description=_("after"))
    def after(self, change: StatusChange) -> Any:
        return _shown(change, change.new)

    def named(self, term: str) -> Q:
        return Q(instance__in=list(Instance.objects.filter(instance_id=term).values_list("pk", flat=True)))
