"""The person's password once more: a stolen or forgotten session must not be enough to turn a fleet around."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from deploys.states import Kind
from inventory.actors import ActorKind
from inventory.errors import Forbidden
from inventory.security.access import Access


def takes_password(access: Access, kind: Kind, instances: int) -> bool:
    """Programs have tokens of their own, and no password to give."""
    is_person = access.actor.kind == ActorKind.PERSON
    return is_person and kind == Kind.ROLLBACK and instances > settings.REAUTH_ABOVE


def check_password_given(access: Access, kind: Kind, instances: int, *, has_given_password: bool) -> None:
    """Raises Forbidden `password_required`."""
    if takes_password(access, kind, instances) and not has_given_password:
        raise Forbidden(
            f"Rolling back more than {settings.REAUTH_ABOVE} instances at once takes the person's password again: "
            "do it at the console, or with an API token.",
            code="password_required",
        )


def is_own_password(request: HttpRequest, password: str) -> bool:
    """Guesses count as failed logins do, and lock the person out in the end."""
    return authenticate(request, username=request.user.get_username(), password=password) == request.user


def password_field() -> forms.CharField:
    return forms.CharField(
        label=_("Your password"),
        required=False,
        max_length=1000,
        strip=False,
        help_text=_("So many instances at once: please confirm that it is you."),
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
