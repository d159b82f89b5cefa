"""Who gets into the admin: by role alone, as everywhere else. Django's `is_staff` says nothing here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from inventory.security.access import Access, Scope

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


class RoleAdminSite(AdminSite):
    def has_permission(self, request: HttpRequest) -> bool:
        access = getattr(request, "access", None)
        return isinstance(access, Access) and access.allows(Scope.ADMIN)

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """A person whose role does not allow it is told so; only a stranger is sent to log in."""
        guarded = super().admin_view(view, cacheable)

        def for_admins(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.user.is_authenticated and not self.has_permission(request):
                raise PermissionDenied
            return guarded(request, *args, **kwargs)

        return for_admins  # type: ignore[return-value]


class ReleaseAdminConfig(AdminConfig):
    default_site = "releasesite.admin_site.RoleAdminSite"
