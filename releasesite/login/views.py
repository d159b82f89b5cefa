"""Logging in, and the person's own password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.db import transaction
from django.forms import Form
from django.http import HttpResponse
from django.urls import reverse_lazy
from django.utils.translation import gettext as _

from inventory.security import audit
from inventory.security.access import access_of


class Login(auth_views.LoginView):
    template_name = "registration/login.html"
    redirect_authenticated_user = True


class PasswordChange(auth_views.PasswordChangeView):
    template_name = "registration/password.html"
    success_url = reverse_lazy("overview")

    def form_valid(self, form: Form) -> HttpResponse:
        with transaction.atomic():
            response = super().form_valid(form)  # type: ignore[arg-type]
            name = self.request.user.get_username()
            audit.record(
                actor=access_of(self.request).actor, action="user.password", object_kind="user", object_id=name
            )
        messages.success(self.request, _("Your password has been changed."))
        return response
