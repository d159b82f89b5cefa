"""People, tokens and the queue. django-q2's own pages let a staff user run any function on a worker: they go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import axes.admin  # noqa: F401  # registers what is taken away below
import django_q.admin  # noqa: F401  # the same
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from django_q.models import Failure, OrmQ, Schedule, Success

from inventory.admin.base import AuditedAdmin, ForAllServices, ReadOnlyAdmin, sees_all
from inventory.security.access import access_of
from releasesite.api.people import SCOPES_OF_GROUP
from releasesite.models import ApiToken, ServiceLimit
from releasesite.token_form import TokenForm

if TYPE_CHECKING:
    LimitInline = admin.StackedInline[ServiceLimit, User]
    PeopleAdmin = UserAdmin[User]
else:
    LimitInline = admin.StackedInline
    PeopleAdmin = UserAdmin

for model in (Schedule, Success, Failure, OrmQ, AccessAttempt, AccessFailureLog, AccessLog, User, Group):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(OrmQ)
class QueueEntryAdmin(ForAllServices, ReadOnlyAdmin):
    """What waits for a worker. Entries only wake workers: the work itself is in the operations."""

    list_display = ("id", "key", "lock", "func", "args")
    list_display_links = None
    ordering = ("-id",)
    list_filter = ("key",)
    fields = ("id", "key", "lock", "func", "args", "task_id")


@admin.register(AccessAttempt)
class LoginAttemptAdmin(ForAllServices, ReadOnlyAdmin):
    """Failed logins that may lead to a lockout. `manage.py axes_reset_username` lifts one."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start")
    fields = ("attempt_time", "username", "ip_address", "user_agent", "failures_since_start")
    ordering = ("-attempt_time",)
    search_fields = ("username",)

    def named(self, term: str) -> Q:
        return Q(username=term)


class ServiceLimitInline(LimitInline):
    model = ServiceLimit
    autocomplete_fields = ("services",)
    extra = 0


@admin.register(User)
class PersonAdmin(ForAllServices, AuditedAdmin, PeopleAdmin):
    object_kind = "user"
    inlines = (ServiceLimitInline,)


@admin.register(Group)
class RoleAdmin(ForAllServices, AuditedAdmin, GroupAdmin):
    """The groups that are roles can only be looked at: renamed, deleted or emptied, they would lock everybody out."""

    object_kind = "group"

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_delete_permission(request, obj)


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in SCOPES_OF_GROUP


@admin.register(ApiToken)
class ApiTokenAdmin(ForAllServices, ReadOnlyAdmin):
    """Tokens are made here, shown once, and revoked; they are never edited."""

    change_form_template = "admin/releasesite/apitoken/change_form.html"
    list_display = ("name", "token_key_start", "scope", "limited_to", "created", "expiry", "last_used_at", "revoked_at")
    list_filter = ("scope",)
    ordering = ("-created",)
    search_fields = ("name", "token_key")
    fields = (
        "name",
        "token_key_start",
        "scope",
        "limited_to",
        "allowed_networks",
        "created_by",
        "created",
        "expiry",
        "last_used_at",
        "revoked_at",
    )
    readonly_fields = ("token_key_start", "limited_to", "created")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("services")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return admin.ModelAdmin.get_search_results(self, request, queryset, search_term)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A token may do what its scope says, whatever its maker may: so its maker has to be allowed anything."""
        return bool(admin.ModelAdmin.has_add_permission(self, request)) and sees_all(request)

    @admin.display(description=gettext_lazy("key"))
    def token_key_start(self, token: ApiToken) -> str:
        return f"{token.token_key[:8]}…"

    @admin.display(description=gettext_lazy("services"))
    def limited_to(self, token: ApiToken) -> str:
        if token.all_services:
            return _("all")
        return ", ".join(service.name for service in token.services.all()) or _("none")

    def get_urls(self) -> list[URLPattern]:
        revoke = self.admin_site.admin_view(require_POST(self.revoke))
        return [path("<path:pk>/revoke/", revoke, name="releasesite_apitoken_revoke"), *super().get_urls()]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The secret is in the answer to the POST and nowhere else: not in a message, a session or a redirect."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = TokenForm(request.POST or None)
        context: dict[str, Any] = {**self.admin_site.each_context(request), "opts": self.opts, "form": form}
        context["title"] = _("Create an API token")
        if form.is_valid():
            context["token"], context["secret"] = self._issue(request, form)
        response = TemplateResponse(request, "admin/releasesite/apitoken/add.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _issue(self, request: HttpRequest, form: forms.Form) -> tuple[ApiToken, str]:
        wanted = form.cleaned_data
        return ApiToken.objects.issue(
            name=wanted["name"],
            scope=wanted["scope"],
            services=wanted["services"],
            expires_in=timedelta(days=wanted["expires_in_days"]) if wanted["expires_in_days"] else None,
            allowed_networks=wanted["allowed_networks"],
            created_by=request.user,
            actor=access_of(request).actor,
        )

    def revoke(self, request: HttpRequest, pk: str) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        token = get_object_or_404(ApiToken, pk=pk)
        token.revoke(actor=access_of(request).actor)
        messages.success(request, _("%(name)s was revoked; it is refused from now on.") % {"name": token.name})
        return HttpResponseRedirect(reverse("admin:releasesite_apitoken_changelist"))
