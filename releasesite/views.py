"""How the pages look to a person, and refusals by the set-up: what is not about releases."""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import split_domain_port
from django.shortcuts import redirect, render
from django.template.loader import get_template
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views import defaults
from django.views.decorators.http import require_POST

from inventory.database.outage import is_outage, is_read_only
from inventory.errors import Problem
from releasesite.api.errors import RETRY_SECONDS, error_body, outage_problem
from releasesite.api.middleware import is_of_the_api
from releasesite.context_processors import THEMES

_YEAR_SECONDS = 365 * 86_400


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Theme and language, each kept in a cookie of its own; then back to where the person was."""
    back = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = redirect(back if is_ours else "overview")
    theme, language = request.POST.get("theme"), request.POST.get("language")
    if theme in THEMES:
        response.set_cookie("theme", str(theme), max_age=_YEAR_SECONDS, samesite="Lax", secure=request.is_secure())
    if language in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            str(language),
            max_age=_YEAR_SECONDS,
            samesite="Lax",
            secure=request.is_secure(),
        )
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A host that ALLOWED_HOSTS does not name is said, with the setting that lets it in."""
    if is_of_the_api(request):
        return JsonResponse(error_body(400, [_refusal(exception)]), status=400)
    wrong_host = request.headers.get("host", "")[:200] if isinstance(exception, DisallowedHost) else ""
    name, _port = split_domain_port(wrong_host)
    context = {"wrong_host": wrong_host, "allowed_hosts": ",".join([*settings.ALLOWED_HOSTS, name]) if name else ""}
    return render(request, "400.html", context, status=400)


def _refusal(exception: Exception) -> Problem:
    if isinstance(exception, DisallowedHost):
        detail = _("The host name in the request is unknown here. Use one of ALLOWED_HOSTS, or have an admin add it.")
        return Problem(code="host_not_allowed", detail=detail)
    return Problem(code="bad_request", detail=_("The request can't be taken as it stands."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Says which origin was refused, and the setting that trusts it; without one the form was simply too old."""
    origin = request.headers.get("origin", "")[:200]
    wrong_origin = origin if "rigin" in reason else ""
    return render(request, "403_csrf.html", {"wrong_origin": wrong_origin}, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Neither page asks the database for anything; a database that is away is said."""
    error = sys.exception()
    if is_of_the_api(request):
        return _api_error(error)
    if is_outage(error):
        page = get_template("503.html").render({"is_read_only": is_read_only(error)})
        return HttpResponse(page, status=503, headers={"Retry-After": str(RETRY_SECONDS)})
    return defaults.server_error(request)


def _api_error(error: BaseException | None) -> HttpResponse:
    if isinstance(error, Exception) and is_outage(error):
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return JsonResponse(error_body(503, [outage_problem(error)]), status=503, headers=headers)
    problem = Problem(code="error", detail=_("The release system itself failed. An admin finds the reason in its log."))
    return JsonResponse(error_body(500, [problem]), status=500)
