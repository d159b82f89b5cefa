"""Services, with their instances inline, a page of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from inventory.admin.base import sees_all, visible_nodes, without_side_doors
from inventory.admin.columns import badge_of, chip, mono
from inventory.admin.editing import CountsInstances
from inventory.admin.service_state import TroubleFilter, state_of, with_counts
from inventory.console.badges import RUN
from inventory.editing import help_texts
from inventory.editing.forms import InstanceRowForm, ServiceForm, ask_rules
from inventory.editing.relocation import save_instance
from inventory.instances import in_progress
from inventory.instances.sync_processes import forget_processes
from inventory.instances.sync_queue import request_sync
from inventory.models import Instance, Node, Service, natural_key
from inventory.security.access import access_of

if TYPE_CHECKING:
    Inline = admin.TabularInline[Instance, Service]
    InlineFormSet = BaseInlineFormSet[Instance, Service, InstanceRowForm]
else:
    Inline = admin.TabularInline
    InlineFormSet = BaseInlineFormSet

INSTANCES_A_PAGE = 25


class NodeSelect(AutocompleteSelect):
    """Knows its row's node, which came with the page's rows; Django's would ask the database once for each of them."""

    known: Node | None = None

    def optgroups(self, name: str, value: Sequence[str], attrs: dict[str, Any] | None = None) -> list[Any]:
        if self.known is None or list(value) != [str(self.known.pk)]:
            return super().optgroups(name, value, attrs)
        return [(None, [self.create_option(name, value[0], str(self.known), True, 0)], 0)]


class InstanceFormSet(InlineFormSet):
    """One page of a service's instances; a POST brings back the rows of the page that it was shown, by their keys."""

    page_number: str | None = None

    def get_queryset(self) -> QuerySet[Instance]:
        if not hasattr(self, "_page"):
            assert self.queryset is not None  # BaseInlineFormSet sets it
            rows = self.queryset.filter(retired_at=None).order_by("natural_key").select_related("node", "service")
            if self.is_bound:
                self._page = rows.filter(pk__in=self._posted_keys())
            else:
                self.page = Paginator(rows, INSTANCES_A_PAGE).get_page(self.page_number)
                first = (self.page.number - 1) * INSTANCES_A_PAGE
                self._page = rows[first : first + INSTANCES_A_PAGE]
        return self._page

    def _posted_keys(self) -> list[int]:
        total = min(int(self.management_form.cleaned_data["INITIAL_FORMS"] or 0), self.absolute_max or 0)
        keys = (str(self.data.get(f"{self.prefix}-{number}-id", "")) for number in range(total))
        return [int(key) for key in keys if key.isascii() and key.isdigit()]

    def add_fields(self, form: Any, index: int | None) -> None:
        """The table's head names the columns for the eye alone."""
        super().add_fields(form, index)
        if form.instance.pk is not None:
            form.fields["node"].widget.widget.known = form.instance.node
        for field in filter(lambda field: field.label, form.fields.values()):
            getattr(field.widget, "widget", field.widget).attrs.setdefault("aria-label", field.label)

    def clean(self) -> None:
        """Two rows may be in each other's way, which each alone can't see."""
        # First: Django's check for doubles leaves out what has been refused.
        ask_rules(form for form in self.forms if form.has_changed())
        super().clean()


class InstanceInline(Inline):
    model = Instance
    form = InstanceRowForm
    formset = InstanceFormSet  # type: ignore[assignment]  # the stubs know of no form of one's own
    template = "admin/inventory/instances_inline.html"
    fields = ("instance_id", "node", "port", "deploy_root", "version", "runs", "details")
    readonly_fields = ("version", "runs", "details")
    autocomplete_fields = ("node",)
    extra = 0
    max_num = INSTANCES_A_PAGE + 100
    can_delete = False

    @admin.display(description=gettext_lazy("running version"))
    def version(self, instance: Instance) -> Any:
        return mono(instance.running_version)

    @admin.display(description=gettext_lazy("run status"))
    def runs(self, instance: Instance) -> Any:
        return badge_of(RUN, instance.run_status) if instance.pk else ""

    @admin.display(description="")
    def details(self, instance: Instance) -> str:
        if instance.pk is None:
            return ""
        url = reverse("admin:inventory_instance_change", args=[instance.pk])
        return format_html('<a href="{}">{}</a>', url, _("Details"))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "node":
            kwargs["widget"] = NodeSelect(db_field, self.admin_site)
            kwargs["queryset"] = visible_nodes(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        without_side_doors(formset.form.base_fields)
        formset.page_number = request.GET.get("instances")
        return formset


@admin.register(Service)
class ServiceAdmin(CountsInstances):
    object_kind = "service"
    service_path = "pk"
    form = ServiceForm
    inlines = (InstanceInline,)
    list_display = ("name", "state", "instance_count", "keep_releases", "synced")
    list_filter = (TroubleFilter, "mutable_versions", "require_sha256", "sync_enabled")
    ordering = (natural_key("name"),)
    search_fields = ("name",)
    readonly_fields = ("synced_at", "created_at")
    fieldsets = (
        (None, {"fields": ("name",)}),
        (
            gettext_lazy("Commands"),
            {
                "fields": ("before_switch_command", "restart_command", "command_timeout"),
                "description": help_texts.COMMANDS,
            },
        ),
        (gettext_lazy("Does the new version really run?"), {"fields": ("version_command", "version_timeout")}),
        (gettext_lazy("Releases on a node"), {"fields": (("keep_releases", "staged_days"), "mutable_versions")}),
        (gettext_lazy("Which packages are taken"), {"fields": ("require_sha256", "signing_key", "zip_names")}),
        (gettext_lazy("Sync"), {"fields": ("sync_enabled", ("synced_at", "created_at"))}),
    )
    actions = ("sync_now",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = super().get_queryset(request)
        return with_counts(queryset) if self.is_list(request) else queryset

    def view_on_site(self, obj: Service) -> str:
        return reverse("service", args=[obj.name])

    @admin.display(description=gettext_lazy("state"))
    def state(self, service: Any) -> SafeString:
        return state_of(service)

    @admin.display(description=gettext_lazy("synced at"), ordering="synced_at")
    def synced(self, service: Service) -> Any:
        if not service.sync_enabled:
            return chip(pgettext("of sync", "Off"), icon_name="pause")
        return service.synced_at or ""

    @admin.action(description=gettext_lazy("Read the versions from the nodes"), permissions=("change",))
    def sync_now(self, request: HttpRequest, queryset: QuerySet[Service]) -> None:
        names = list(queryset.values_list("name", flat=True))
        for name in names:
            request_sync(access=access_of(request), service_name=name)
        text = ngettext("%(count)d service is being read.", "%(count)d services are being read.", len(names))
        messages.success(request, text % {"count": len(names)})

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Who is limited to some services can't make another one."""
        return super().has_add_permission(request) and sees_all(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "version_command" in form.changed_data and not obj.version_command:
            forget_processes([obj.pk], actor=access_of(request).actor)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        for instance in formset.new_objects:
            instance.save(force_insert=True)
        for instance, fields in formset.changed_objects:
            save_instance(instance, changed=fields, actor=access_of(request).actor)
        formset.save_m2m()

    def service_of(self, obj: Any) -> str:
        return str(obj)

    def history_of(self, obj: Any) -> str:
        if obj.instances.exists():
            return _("%(name)s has instances: delete or move those first.") % {"name": obj}
        if in_progress.operations.remember(service=obj.pk):
            return _("%(name)s has a history of operations, which is kept.") % {"name": obj}
        return ""
