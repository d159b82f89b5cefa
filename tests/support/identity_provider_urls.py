"""The routes of tests.support.identity_provider, and what it says of people. Imported in its process alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path
from django.utils.html import format_html
from oauth2_provider.oauth2_validators import OAuth2Validator


class Validator(OAuth2Validator):  # type: ignore[misc]  # the toolkit has no types
    oidc_claim_scope = None

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        groups = json.loads((Path(os.environ["IDENTITY_PROVIDER_FOLDER"]) / "groups.json").read_text())
        name = request.user.get_username()
        return {"preferred_username": name, "given_name": name.title(), "groups": groups.get(name, [])}


class Login(LoginView):
    def render_to_response(self, context: dict[str, Any], **_: Any) -> HttpResponse:
        form: AuthenticationForm = context["form"]
        text = "<h1>Log in at the provider</h1><form method=post>{}<input type=hidden {}><button>Go</button></form>"
        hidden = format_html('name="csrfmiddlewaretoken" value="{}"', get_token(self.request))
        return HttpResponse(format_html(text, form.as_p(), hidden))


def favicon(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


urlpatterns = [
    path("o/", include("oauth2_provider.urls")),
    path("login", Login.as_view()),
    path("favicon.ico", favicon),
]
