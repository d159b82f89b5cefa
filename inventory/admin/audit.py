"""The audit, to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from inventory.admin.base import ReadOnlyAdmin
from inventory.models import AuditEntry, Service
from inventory.security.access import access_of

_MOST_FOUND = 1000


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("id", "at", "actor_name", "actor_kind", "actor_address", "action", "object_id", "service")
    list_filter = ("actor_kind",)
    ordering = ("-id",)
    search_fields = ("object_id",)
    search_help_text = _("A full name: of the actor, the object, the service or the action.")

    def named(self, term: str) -> Q:
        return Q(actor_name=term) | Q(service=term) | Q(action=term) | Q(pk__in=_of_object(term))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Who is limited to some services reads what concerns those."""
        queryset = super().get_queryset(request)
        access = access_of(request)
        if access.services is None:
            return queryset
        return queryset.filter(service__in=Service.objects.filter(pk__in=access.services).values("name"))


def _of_object(name: str) -> list[int]:
    # The index on objects begins with their kind.
    kinds = ("service", "jump_host", "node", "instance", "deploy", "rollback", "token", "user", "group", "webhook")
    of_object = AuditEntry.objects.filter(object_kind__in=kinds, object_id=name).order_by("-pk")
    return list(of_object.values_list("pk", flat=True)[:_MOST_FOUND])
