"""Every change of a version, status or health, to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from inventory.admin.base import ReadOnlyAdmin
from inventory.instances import in_progress
from inventory.models import Health, Instance, RunStatus, StatusChange


def _shown(change: StatusChange, value: str) -> Any:
    match change.field:
        case StatusChange.Field.RUN_STATUS:
            return dict(RunStatus.choices).get(value, value)
        case StatusChange.Field.HEALTH:
            return dict(Health.choices).get(value, value)
        case StatusChange.Field.TARGET:
            return in_progress.operations.label(value)
        case _:
            return value


@admin.register(StatusChange)
class StatusChangeAdmin(ReadOnlyAdmin):
    service_path = "instance__service_id"
    list_display = ("at", "instance", "field", "before", "after", "operation_name", "actor_name", "note")
    list_display_links = ("at",)
    list_filter = ("field", "actor_kind")
    list_select_related = ("instance",)
    ordering = ("-id",)
    search_fields = ("instance",)
    search_help_text = _("A full instance id.")

    @admin.display(description=_("before"))
    def before(self, change: StatusChange) -> Any:
        return _shown(change, change.old)

    @admin.display(description=_("after"))
    def after(self, change: StatusChange) -> Any:
        return _shown(change, change.new)

    def named(self, term: str) -> Q:
        return Q(instance__in=list(Instance.objects.filter(instance_id=term).values_list("pk", flat=True)))
