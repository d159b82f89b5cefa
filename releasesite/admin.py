"""People, tokens and the queue. django-q2's own pages let a staff user run any function on a worker: they go."""

from __future__ import annotations

from collections.abc import Iterable
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
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_POST
from django_q.models import Failure, OrmQ, Schedule, Success

from inventory.admin.base import AuditedAdmin, ForAllServices, ReadOnlyAdmin, sees_all
from inventory.admin.columns import chip, side_by_side
from inventory.models import Service
from inventory.security.access import access_of
from releasesite.api.people import SCOPES_OF_GROUP
from releasesite.models import ApiToken, Identity
from releasesite.people_form import MAY, GroupForm, NewPersonForm, PersonForm
from releasesite.token_form import TokenForm

if TYPE_CHECKING:
    PeopleAdmin = UserAdmin[User]
else:
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


@admin.register(User)
class PersonAdmin(ForAllServices, AuditedAdmin, PeopleAdmin):
    """Django's `is_staff` and permissions of single people say nothing here: the role does."""

    object_kind = "user"
    form = PersonForm
    add_form = NewPersonForm
    add_form_template = None
    list_display = ("username", "state", "roles", "limited_to", "full_name", "email", "last_login")
    list_filter = (("groups", admin.RelatedOnlyFieldListFilter), "is_active", "is_superuser")
    filter_horizontal = ()
    readonly_fields = ("password_state", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", ("first_name", "last_name"), "email")}),
        (gettext_lazy("What they may do"), {"fields": ("groups", "is_superuser", "limited", "services")}),
        (gettext_lazy("Login"), {"fields": ("is_active", ("password_state", "last_login", "date_joined"))}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "password1", "password2")}),
        (gettext_lazy("What they may do"), {"fields": ("groups", "limited", "services")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("groups", "service_limit__services")

    @admin.display(description=gettext_lazy("state"))
    def state(self, user: User) -> SafeString:
        if not user.is_active:
            return chip(_("Kept out"), icon_name="ban")
        return chip(pgettext("of a user", "Active"), icon_name="check", tone="ok")

    @admin.display(description=gettext_lazy("role"))
    def roles(self, user: User) -> SafeString:
        names = [_("superuser")] if user.is_superuser else []
        names += [group.name for group in user.groups.all()]
        if not user.is_superuser and SCOPES_OF_GROUP.keys().isdisjoint(names):
            return side_by_side(
                [*(chip(each, icon_name="user") for each in names), chip(_("No role"), icon_name="alert", tone="warn")]
            )
        return side_by_side(chip(name, icon_name="user") for name in names)

    @admin.display(description=gettext_lazy("services"))
    def limited_to(self, user: User) -> str:
        limit = None if user.is_superuser else getattr(user, "service_limit", None)
        return _("all") if limit is None else _named(limit.services.all())

    @admin.display(description=gettext_lazy("name"))
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    @admin.display(description=gettext_lazy("password"))
    def password_state(self, user: User) -> SafeString:
        if identity := Identity.objects.filter(user=user).first():
            return format_html("{}", _("None: logs in at %(issuer)s.") % {"issuer": identity.issuer})
        said = _("Set.") if user.has_usable_password() else _("None: nobody can log in with this name.")
        url = reverse("admin:auth_user_password_change", args=[user.pk])
        return format_html('{} <a href="{}">{}</a>', said, url, _("Set a new password…"))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        if Identity.objects.filter(user__pk=id).exists():
            messages.error(request, _("This user has no password: the identity provider says who it is."))
            return HttpResponseRedirect(reverse("admin:auth_user_change", args=[id]))
        return super().user_change_password(request, id, form_url)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        form.save_limit()


@admin.register(Group)
class RoleAdmin(ForAllServices, AuditedAdmin, GroupAdmin):
    """The groups that are roles can only be looked at: renamed, deleted or emptied, they would lock everybody out."""

    object_kind = "group"
    form = GroupForm
    list_display = ("name", "may", "people")
    filter_horizontal = ()
    readonly_fields = ("may", "people")

    def get_fieldsets(self, request: HttpRequest, obj: Group | None = None) -> Any:
        shown = ("name", "may", "people") if _is_role(obj) else ("name", "permissions")
        return ((None, {"fields": shown}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        counted: QuerySet[Any] = super().get_queryset(request).annotate(user_count=Count("user"))
        return counted

    @admin.display(description=gettext_lazy("whose people"))
    def may(self, group: Group) -> Any:
        return MAY.get(group.name, "")

    @admin.display(description=gettext_lazy("users"), ordering="user_count")
    def people(self, group: Any) -> int:
        return int(group.user_count)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_delete_permission(request, obj)


def _named(services: Iterable[Service]) -> str:
    return ", ".join(service.name for service in services) or _("none")


class TokenStateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return (
            ("valid", gettext_lazy("Valid")),
            ("expired", gettext_lazy("Expired")),
            ("revoked", gettext_lazy("Revoked")),
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        is_over = Q(expiry__lte=Now())
        match self.value():
            case "valid":
                return queryset.filter(~is_over | Q(expiry=None), revoked_at=None)
            case "expired":
                return queryset.filter(is_over, revoked_at=None)
            case "revoked":
                return queryset.exclude(revoked_at=None)
            case _:
                return queryset


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in SCOPES_OF_GROUP


@admin.register(ApiToken)
class ApiTokenAdmin(ForAllServices, ReadOnlyAdmin):
    """Tokens are made here, shown once, and revoked; they are never edited."""

    change_form_template = "admin/releasesite/apitoken/change_form.html"
    list_display = ("name", "state", "token_key_start", "scope", "limited_to", "created", "expiry", "last_used_at")
    list_filter = (TokenStateFilter, "scope")
    ordering = ("-created",)
    search_fields = ("name", "token_key")
    fieldsets = (
        (None, {"fields": (("name", "state"), ("token_key_start", "scope"))}),
        (gettext_lazy("Where it is valid"), {"fields": ("limited_to", "networks")}),
        (
            gettext_lazy("When"),
            {"fields": (("created", "created_by"), ("last_used_at", "expiry"), "revoked_at")},
        ),
    )
    readonly_fields = ("token_key_start", "limited_to", "networks", "created", "state")

    def audited_as(self, obj: ApiToken) -> str:
        return obj.name

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
        return _("all") if token.all_services else _named(token.services.all())

    @admin.display(description=gettext_lazy("allowed networks"))
    def networks(self, token: ApiToken) -> str:
        return ", ".join(token.allowed_networks) or _("all")

    @admin.display(description=gettext_lazy("state"))
    def state(self, token: ApiToken) -> SafeString:
        if token.revoked_at is not None:
            return chip(_("Revoked"), icon_name="ban")
        if token.is_expired:
            return chip(_("Expired"), icon_name="clock", tone="warn")
        return chip(_("Valid"), icon_name="check", tone="ok")

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
