"""The person's password, asked for on a page."""

from __future__ import annotations

from django import forms
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _


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
