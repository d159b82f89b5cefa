"""Pages speak of days and times in the viewer's zone, which the browser tells in a cookie (console.js). The API speaks UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "tz"


def in_viewer_timezone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        name = request.COOKIES.get(COOKIE, "")
        if not name or request.path.startswith("/v1/"):
            return get_response(request)
        with timezone.override(_zone(name[:64])):
            return get_response(request)

    return middleware


@lru_cache(maxsize=500)
def _zone(name: str) -> tzinfo | None:
    """None, which is UTC here, for what this machine knows no zone of."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
