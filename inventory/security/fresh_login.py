"""A login of just now at the identity provider: what a person without a password here gives in its place, once."""

from __future__ import annotations

import time

from django.http import HttpRequest

VALID_SECONDS = 300
_KEY = "fresh_login"


def note(request: HttpRequest, *, path: str) -> None:
    """Of the page for which the person logged in again."""
    request.session[_KEY] = {"path": path, "at": time.time()}


def is_there(request: HttpRequest) -> bool:
    """For the page that is asked for."""
    noted = request.session.get(_KEY) or {}
    return noted.get("path") == request.path and 0 <= time.time() - noted["at"] < VALID_SECONDS


def take(request: HttpRequest) -> bool:
    """Good for one act."""
    is_good = is_there(request)
    request.session.pop(_KEY, None)
    return is_good
