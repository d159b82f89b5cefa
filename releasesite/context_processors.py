"""What the frame of every page needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language_info

from inventory.security.access import Access, Scope
from releasesite.site_files import COMMAND

THEMES = ("auto", "light", "dark")


def console(request: HttpRequest) -> dict[str, Any]:
    """may_read, may_deploy, may_admin: what is not allowed is not offered. now: to tell the viewer's clock from ours."""
    access = getattr(request, "access", None)
    known = access if isinstance(access, Access) else None
    theme = request.COOKIES.get("theme", "auto")
    return {
        "theme": theme if theme in THEMES else "auto",
        "is_known": known is not None,
        "may_read": known is not None and known.allows(Scope.READ),
        "may_deploy": known is not None and known.allows(Scope.DEPLOY),
        "may_admin": known is not None and known.allows(Scope.ADMIN),
        "languages": [(code, get_language_info(code)["name_local"]) for code, _name in settings.LANGUAGES],
        "now": timezone.now(),
        "release_system_version": settings.VERSION,
        "server_command": COMMAND,
    }
