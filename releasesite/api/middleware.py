"""Gives every page request of a logged-in person its `request.access`; /v1 does so itself, with tokens and CSRF."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse

from releasesite.api.addresses import client_address
from releasesite.api.people import access_of_user

# The probes must answer while the database is away; a session can't be looked up then.
WITHOUT_SESSION = ("/v1/", "/healthz", "/readyz", "/metrics", "/static/")


class AccessMiddleware:
    """`request.access` is an `Access`, or None for a stranger."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(WITHOUT_SESSION):
            user = request.user
            access = access_of_user(user, address=client_address(request)) if isinstance(user, User) else None
            request.access = access  # type: ignore[attr-defined]
        return self.get_response(request)
