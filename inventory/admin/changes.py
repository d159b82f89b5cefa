"""Every change of a version, status or health, to read."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from inventory.admin.base import ReadOnlyAdmin
from inventory.models import Instance, StatusChange


@admin.register(StatusChange)
class StatusChangeAdmin(ReadOnlyAdmin):
    service_path = "instance__service_id"
    list_display = ("at", "instance", "field", "old", "new", "operation_name", "actor_name", "note")
    list_display_links = ("at",)
    list_filter = ("field", "actor_kind")
    list_select_related = ("instance",)
    ordering = ("-id",)
    search_fields = ("instance",)
    search_help_text = _("A whole instance id.")

    def named(self, term: str) -> Q:
        return Q(instance__in=list(Instance.objects.filter(instance_id=term).values_list("pk", flat=True)))
