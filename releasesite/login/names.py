"""Under which name a failed login is kept: one that nobody has may be a password that went into the wrong field."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

NOBODYS = "(nobody's name)"


def is_known(name: str) -> bool:
    return "\x00" not in name and User.objects.filter(username=name).exists()


def counted_name(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str:
    """For django-axes. Unknown names are counted each for itself, as known ones are: a lockout tells nobody which exist."""
    given: Any = credentials or (request.POST if request is not None else {})
    name = str(given.get("username") or "")
    if is_known(name):
        return name
    return f"{NOBODYS} {salted_hmac('releasesite.login_names', name).hexdigest()[:16]}"
