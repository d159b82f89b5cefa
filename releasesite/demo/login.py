"""The demo's keys: the admin's password, made once, and two API tokens, new at each start."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.utils import timezone

from inventory.models import Service
from releasesite.demo.layout import Layout, shown, write_secret
from releasesite.models import ApiToken, TokenScope

ADMIN = "admin"


def admin_password(layout: Layout) -> str:
    """The new password where one was made, else where to find it."""
    file = layout.admin_password
    admin = get_user_model().objects.filter(username=ADMIN).first()
    if admin is None:
        password = secrets.token_urlsafe(12)
        User.objects.create_superuser(ADMIN, password=password)
        write_secret(file, password + "\n")
        return f"{password}  (shown this once; kept in {shown(file)})"
    if file.exists() and admin.check_password(file.read_text().strip()):
        return f"in {shown(file)}"
    return "as you set it (make password sets a new one)"


def new_token(*, name: str, scope: TokenScope, service: Service | None = None) -> str:
    """Takes the place of the earlier run's token of that name."""
    ApiToken.objects.filter(name=name, revoked_at__isnull=True).update(revoked_at=timezone.now())
    _, secret = ApiToken.objects.issue(name=name, scope=scope, services=[service] if service else [])
    return secret
