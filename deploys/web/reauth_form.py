"""The person's password, asked for on a page; of who has none here, a new login at the identity provider."""

from __future__ import annotations

from dataclasses import dataclass

from django import forms
from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from inventory.security import fresh_login


@dataclass(frozen=True, kw_only=True)
class LoginAgain:
    """is_done: for this page, a moment ago. url: leads to the provider, and back."""

    provider: str
    url: str
    is_done: bool


def login_again(request: HttpRequest, *, back: str = "") -> LoginAgain | None:
    """None for a person with a password, who is asked for that. back: where to go then, when it is not this page."""
    if settings.OIDC is None or not _is_by_provider(request):
        return None
    url = f"{reverse('oidc-login')}?{urlencode({'for': request.path, 'next': back or request.get_full_path()})}"
    return LoginAgain(provider=settings.OIDC.name, url=url, is_done=has_logged_in_again(request))


def has_logged_in_again(request: HttpRequest) -> bool:
    return _is_by_provider(request) and fresh_login.is_there(request)


def has_confirmed(request: HttpRequest, password: str) -> bool:
    """A login at the provider is good for one act, on the page for which it was."""
    return fresh_login.take(request) if _is_by_provider(request) else is_own_password(request, password)


def _is_by_provider(request: HttpRequest) -> bool:
    return settings.OIDC is not None and request.user.is_authenticated and not request.user.has_usable_password()


def is_own_password(request: HttpRequest, password: str) -> bool:
    """Guesses count as failed logins do, and lock the person out in the end."""
    return authenticate(request, username=request.user.get_username(), password=password) == request.user


def password_field() -> forms.CharField:
    return forms.CharField(
        label=_("Your password"),
        required=False,
        max_length=1000,
        strip=False,
        help_text=_("This affects many instances: enter your password to confirm."),
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
