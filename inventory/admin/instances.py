"""Instances: where they live can be edited, what they run is only shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.admin.base import RetiredFilter, visible_nodes
from inventory.admin.columns import badge_of, chip, mono, side_by_side
from inventory.admin.editing import InventoryAdmin
from inventory.admin.retire import RetireButton
from inventory.console.badges import HEALTH, RUN
from inventory.drift import DRIFTED, DRIFTED_AS, Drift
from inventory.editing.forms import InstanceForm
from inventory.editing.relocation import save_instance
from inventory.editing.retirement import retire_instance
from inventory.instances import in_progress
from inventory.models import STORED_RUN_STATUSES, Instance, Service
from inventory.security.access import Access, access_of

_SHOWN = (
    ("runs", "is_healthy", "drifted"),
    ("running_version", "expected_version", "process_version"),
    ("running_release", "releases"),
    "running_sha256",
    ("changed_at", "health_at"),
    ("reported_version", "reported_status", "reported_at"),
    ("created_at", "retired_at"),
)
# As many as fit into a URL.
_MOST_PICKED = 200


class RunStatusFilter(admin.SimpleListFilter):
    """Those that are stored: what an operation is doing just now is for the console to show."""

    title = gettext_lazy("run status")
    parameter_name = "run_status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return ((status.value, status.label) for status in STORED_RUN_STATUSES)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Instance]) -> QuerySet[Instance]:
        return queryset.filter(run_status=self.value()) if self.value() else queryset


class DriftFilter(admin.SimpleListFilter):
    title = gettext_lazy("drift")
    parameter_name = "drift"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        yes = ("yes", gettext_lazy("Runs another version than expected"))
        return (yes, *((drift.value, drift.label) for drift in Drift))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Instance]) -> QuerySet[Instance]:
        wanted = self.value()
        if wanted == "yes":
            return queryset.filter(DRIFTED)
        return queryset.filter(DRIFTED_AS[Drift(wanted)]) if wanted else queryset


@admin.register(Instance)
class InstanceAdmin(RetireButton, InventoryAdmin):
    object_kind = "instance"
    service_path = "service_id"
    form = InstanceForm
    list_display = ("instance_id", "service", "node", "port", "version", "runs", "is_healthy")
    list_filter = (
        RetiredFilter,
        RunStatusFilter,
        "health",
        DriftFilter,
        ("service", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("service", "node")
    search_fields = ("instance_id", "node__name", "node__host", "service__name")
    autocomplete_fields = ("service", "node")
    readonly_fields = flatten(_SHOWN)
    actions = ("roll_back",)
    fieldsets = (
        (None, {"fields": ("instance_id", "service")}),
        (gettext_lazy("Where it runs"), {"fields": (("node", "port"), "deploy_root")}),
        (gettext_lazy("What it runs"), {"fields": _SHOWN}),
    )

    def view_on_site(self, obj: Instance) -> str:
        return reverse("instance", args=[obj.instance_id])

    @admin.display(description=gettext_lazy("running version"), ordering="running_version", empty_value="—")
    def version(self, instance: Instance) -> Any:
        if instance.drift is None:
            return mono(instance.running_version)
        return side_by_side([mono(instance.running_version), self.drifted(instance)])

    @admin.display(description=gettext_lazy("run status"), ordering="run_status")
    def runs(self, instance: Instance) -> SafeString:
        return badge_of(RUN, instance.run_status)

    @admin.display(description=gettext_lazy("health"), ordering="health")
    def is_healthy(self, instance: Instance) -> SafeString:
        return badge_of(HEALTH, instance.health)

    @admin.display(description=gettext_lazy("release history"))
    def releases(self, instance: Instance) -> str:
        return ", ".join(instance.release_history)

    @admin.action(description=gettext_lazy("Roll back…"), permissions=("change",))
    def roll_back(self, request: HttpRequest, queryset: QuerySet[Instance]) -> HttpResponse | None:
        """To the console's preview: nothing happens here."""
        services = set(queryset.order_by().values_list("service__name", flat=True).distinct()[:2])
        keys = list(queryset.values_list("pk", flat=True)[: _MOST_PICKED + 1])
        if len(services) != 1 or len(keys) > _MOST_PICKED:
            text = _("Select at most %(most)d instances, all of one service; or go to the service in the console.")
            messages.error(request, text % {"most": _MOST_PICKED})
            return None
        picked = urlencode([("i", key) for key in keys])
        return HttpResponseRedirect(f"{reverse('roll-back', args=[services.pop()])}?{picked}")

    @admin.display(description=gettext_lazy("drift"))
    def drifted(self, instance: Instance) -> SafeString:
        match instance.drift:
            case Drift.LINK:
                text = _("expected %(version)s") % {"version": instance.expected_version}
            case Drift.PROCESS:
                text = _("the process is %(version)s") % {"version": instance.process_version}
            case _:
                return mark_safe("—")
        return chip(text, icon_name="drift", tone="warn")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "service":
            kwargs["queryset"] = access_of(request).visible(Service.objects.all(), "pk")
        if db_field.name == "node":
            kwargs["queryset"] = visible_nodes(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change and form.changed_data:
            save_instance(obj, changed=form.changed_data, actor=access_of(request).actor)
        else:
            super().save_model(request, obj, form, change)

    def service_of(self, obj: Any) -> str:
        return str(obj.service)

    def history_of(self, obj: Any) -> str:
        if in_progress.operations.remember(instance=obj.pk) or obj.status_changes.exists():
            return _("%(name)s has a history, which is kept: retire it instead.") % {"name": obj}
        return ""

    def retire(self, access: Access, obj: Any) -> None:
        retire_instance(access=access, instance_id=obj.instance_id)
