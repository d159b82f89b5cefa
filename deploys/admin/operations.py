"""Deploys, their targets, packages and workers, to read. What acts on them is in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from deploys.badges import OPERATION, TARGET
from deploys.models import Deploy, Operation, Package, Target, Worker
from deploys.states import Kind
from inventory.admin.base import ReadOnlyAdmin
from inventory.admin.columns import badge_of
from inventory.models import Instance, Service
from inventory.security.redaction import redact_url


class OperationAdmin(ReadOnlyAdmin):
    """Of one kind: the proxies register it."""

    service_path = "service_id"
    list_display = (
        "public_id",
        "service",
        "version",
        "state",
        "failed_of_total",
        "requested_by",
        "started_at",
        "finished_at",
    )
    list_filter = ("status", ("service", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("service",)
    ordering = ("-id",)
    search_fields = ("public_id",)
    search_help_text = _("A full id, or a service's name.")
    # The URL keeps its userinfo and query for the download alone.
    exclude = ("package_url", "fingerprint", "log_seq", "log_bytes", "package")

    def audited_as(self, obj: Operation) -> str:
        return obj.public_id

    readonly_fields = ("shown_url", "state")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """First what one looks for."""
        first = ["public_id", "service", "version", "state", "shown_url", "requested_by", "reason"]
        times = ["started_at", "updated_at", "finished_at"]
        rest = [name for name in self.get_fields(request, obj) if name not in {*first, *times, "status"}]
        return ((None, {"fields": first}), (_("Times"), {"fields": times}), (_("Further"), {"fields": rest}))

    def view_on_site(self, obj: Operation) -> str:
        return reverse(obj.kind, args=[obj.public_id])

    @admin.display(description=_("status"))
    def state(self, operation: Operation) -> SafeString:
        return badge_of(OPERATION, operation.status)

    @admin.display(description=_("failed"))
    def failed_of_total(self, operation: Operation) -> str:
        return f"{operation.failed} / {operation.total}"

    def named(self, term: str) -> Q:
        return Q(public_id=term) | Q(service__in=_keys(Service, name=term))

    @admin.display(description=_("package URL"))
    def shown_url(self, operation: Operation) -> str:
        return redact_url(operation.package_url) if operation.package_url else ""


@admin.register(Deploy)
class DeployAdmin(OperationAdmin):
    pass


@admin.register(Target)
class TargetAdmin(ReadOnlyAdmin):
    service_path = "instance__service_id"
    list_display = ("id", "operation", "instance", "attempt", "state", "step", "error_code", "source", "updated_at")
    list_filter = ("status", "kind")
    list_select_related = ("operation", "instance")
    ordering = ("-id",)
    search_fields = ("instance",)
    search_help_text = _("A full instance id or operation id.")
    exclude = ("status", "error_told", "reverted")
    readonly_fields = ("state", "was_reverted")

    @admin.display(description=_("reverted"))
    def was_reverted(self, target: Target) -> str:
        if target.reverted is None:
            return ""
        return gettext("Yes") if target.reverted else gettext("No")

    @admin.display(description=_("status"))
    def state(self, target: Target) -> SafeString:
        return badge_of(TARGET, target.status)

    def named(self, term: str) -> Q:
        return Q(instance__in=_keys(Instance, instance_id=term)) | Q(
            operation__in=_keys(Operation, kind__in=Kind.values, public_id=term)
        )


@admin.register(Package)
class PackageAdmin(ReadOnlyAdmin):
    service_path = "service_id"
    list_display = ("service", "version", "sha256", "size_bytes", "created_at")
    list_display_links = ("version",)
    list_select_related = ("service",)
    ordering = ("-id",)
    search_fields = ("version",)
    search_help_text = _("A full version, service or digest.")
    exclude = ("url",)
    readonly_fields = ("shown_url",)

    def named(self, term: str) -> Q:
        return Q(version=term) | Q(sha256=term) | Q(service__in=_keys(Service, name=term))

    @admin.display(description=_("URL"))
    def shown_url(self, package: Package) -> str:
        return redact_url(package.url)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    search_fields = ("name",)
    exclude = ("is_paused",)
    list_display = ("name", "host", "pid", "paused", "started_at", "seen_at", "canary_at")
    readonly_fields = ("paused",)
    ordering = ("name",)

    @admin.display(description=_("paused"))
    def paused(self, worker: Worker) -> str:
        return gettext("Yes") if worker.is_paused else gettext("No")

    def named(self, term: str) -> Q:
        return Q(name__icontains=term)


def _keys(model: type[models.Model], **named: Any) -> list[int]:
    return list(model._default_manager.filter(**named).values_list("pk", flat=True))
