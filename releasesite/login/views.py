"""Logging in, and the person's own password."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.translation import gettext as _

from inventory.security import audit
from inventory.security.access import access_of


class Login(auth_views.LoginView):
    template_name = "registration/login.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        provider = settings.OIDC.name if settings.OIDC is not None else ""
        return super().get_context_data(provider=provider, **kwargs)


class PasswordChange(auth_views.PasswordChangeView):
    template_name = "registration/password.html"
    success_url = reverse_lazy("overview")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if settings.OIDC is not None and request.user.is_authenticated and not request.user.has_usable_password():
            messages.warning(request, _("You have no password here: you log in at the identity provider."))
            return redirect("overview")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Form) -> HttpResponse:
        with transaction.atomic():
            response = super().form_valid(form)  # type: ignore[arg-type]
            name = self.request.user.get_username()
            audit.record(
                actor=access_of(self.request).actor, action="user.password", object_kind="user", object_id=name
            )
        messages.success(self.request, _("Your password has been changed."))
        return response
