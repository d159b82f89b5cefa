"""How long calls of `/v1` take."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from inventory.database.tallies import Histogram
from releasesite.api.middleware import is_of_the_api

API = Histogram(
    name="release_api_request_seconds",
    help="How long the web took to answer calls of /v1.",
    labels=("route", "method", "status"),
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class MeasuringMiddleware:
    """By route, and not by path: who asks for what there is not adds no series."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_of_the_api(request):
            return self.get_response(request)
        began = time.monotonic()
        response = self.get_response(request)
        match = request.resolver_match
        method = request.method if request.method in METHODS else "other"
        API.observe(time.monotonic() - began, match.route if match else "none", method, str(response.status_code))
        return response
