"""What every request and every answer has: an id, a host that is ours, who calls, and how long it may be kept."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.middleware.gzip import GZipMiddleware

from releasesite.api.addresses import client_address
from releasesite.api.people import access_of_user
from releasesite.api.throttles import RateLimit

PROBES = ("/healthz", "/readyz", "/metrics")
# The probes must answer while the database is away; a session can't be looked up then.
WITHOUT_SESSION = ("/v1/", *PROBES, "/static/")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/=+@-]{1,100}")
# Not `request.headers`: that is a copy, and the log reads what is set here.
_META_KEY = "HTTP_X_REQUEST_ID"
_WORTH_COMPRESSING = 20_000
_GetResponse = Callable[[HttpRequest], HttpResponse]


def is_of_the_api(request: HttpRequest) -> bool:
    """Whether JSON is promised, also where a slash too many leads to nothing."""
    path = request.path_info.lstrip("/")
    return path == "v1" or path.startswith("v1/")


class RequestIdMiddleware:
    """`X-Request-ID`, the caller's if it is 1 to 100 safe characters: in the log (django_structlog reads it) and the answer."""

    def __init__(self, get_response: _GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get(_META_KEY, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        request.META[_META_KEY] = request_id
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class AnswerMiddleware:
    """Nothing is kept in a cache, but what says so itself; and how many calls the caller has left."""

    def __init__(self, get_response: _GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path_info.startswith(settings.STATIC_URL):
            _forbid_caching(response)
        if is_of_the_api(request) and response.status_code >= 400:
            response = _compressed(request, response)
        limit: RateLimit | None = getattr(request, "rate_limit", None)
        if limit is not None:
            for name, value in limit.headers().items():
                response[name] = value
        return response


def _forbid_caching(response: HttpResponseBase) -> None:
    if response.status_code >= 400 or "Cache-Control" not in response:
        response["Cache-Control"] = "no-store"


def _compressed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Ten thousand busy instances are as many objects, alike but for their ids. Nothing in a refusal is secret."""
    if response.streaming or len(response.content) < _WORTH_COMPRESSING:
        return response
    return cast("HttpResponse", GZipMiddleware(lambda _: response).process_response(request, response))


class HostMiddleware(CommonMiddleware):
    """Django's, which refuses foreign host names: whoever probes us or reads the metrics may use any, an address even."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:  # type: ignore[override]
        return None if request.path_info in PROBES else super().process_request(request)


class AccessMiddleware:
    """Gives every page request of a logged-in person its `request.access`; /v1 does so itself, with tokens and CSRF.

    `request.access` is an `Access`, or None for a stranger.
    """

    def __init__(self, get_response: _GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(WITHOUT_SESSION):
            user = request.user
            access = access_of_user(user, address=client_address(request)) if isinstance(user, User) else None
            request.access = access  # type: ignore[attr-defined]
        return self.get_response(request)
