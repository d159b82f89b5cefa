"""The default permission of every API view: the scope that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from inventory.security.access import Access, Scope

if TYPE_CHECKING:  # rest_framework.views imports this module by its settings
    from rest_framework.views import APIView


class ScopePermission(BasePermission):
    """A view says `required_scope = Scope.X`, or a dict of them by method. One that says nothing is closed."""

    code = "scope_missing"

    def has_permission(self, request: Request, view: APIView) -> bool:
        access: Access | None = getattr(request, "access", None)
        required = _required_scope(view, request.method or "")
        if access is None or required is None:
            return False
        self.message = _("This needs the scope '%(scope)s', which the caller does not have.") % {
            "scope": required.value
        }
        return access.allows(required)


def _required_scope(view: APIView, method: str) -> Scope | None:
    declared: Scope | dict[str, Scope] | None = getattr(view, "required_scope", None)
    if not isinstance(declared, dict):
        return declared
    return declared.get("GET" if method in SAFE_METHODS else method)
