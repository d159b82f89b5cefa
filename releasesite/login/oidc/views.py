"""Out to the identity provider, back from it, and out of both."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.contrib import auth, messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from inventory.actors import Actor, ActorKind
from inventory.models import AuditEntry
from inventory.security import audit, fresh_login
from releasesite.api.addresses import client_address
from releasesite.login.names import NOBODYS
from releasesite.login.oidc import flow, people
from releasesite.login.oidc.client import client
from releasesite.login.oidc.configured import provider
from releasesite.login.oidc.errors import Refused, Unavailable

logger = logging.getLogger(__name__)

BACKEND = "django.contrib.auth.backends.ModelBackend"
ID_TOKEN = "oidc_id_token"
# A stranger's requests must not fill the audit, which keeps all: beyond so many a minute they are in the log alone.
FAILURES_A_MINUTE, LOOKED_AT = 30, 100


@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """`next`: where to go then. `for`: the page whose act a person who is logged in confirms by a new login."""
    next_url = _own(request, request.GET.get("next", ""))
    page = request.GET.get("for", "") if request.user.is_authenticated else ""
    if request.user.is_authenticated and not page:
        return redirect(next_url)
    try:
        return redirect(flow.begin(request, next_url=next_url, page=page))
    except Unavailable as error:
        return _unavailable(request, error, next_url)


@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    try:
        login = flow.finish(request)
        user = _person(request, login)
    except Unavailable as error:
        return _unavailable(request, error, resolve_url("overview"))
    except Refused as error:
        return _refused(request, error)
    if login.page:
        fresh_login.note(request, path=login.page)
    else:
        request.login_by = login.claims["iss"]  # type: ignore[attr-defined]  # for the audit
        auth.login(request, user, backend=BACKEND)
    request.session[ID_TOKEN] = login.id_token
    return redirect(login.next_url)


def _person(request: HttpRequest, login: flow.Login) -> User:
    """Raises Refused."""
    if login.page and not (isinstance(request.user, User) and people.is_of(login.claims, request.user)):
        told = _("You logged in there as somebody else than here. Nothing has been changed.")
        raise Refused("another person logged in again", told)
    return people.admit(login.claims, address=client_address(request))


class Logout(auth_views.LogoutView):
    """Ends our session, then the provider's, where it says how (OpenID Connect RP-Initiated Logout 1.0)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        id_token = request.session.get(ID_TOKEN)
        response = super().post(request, *args, **kwargs)
        url = _logout_url(request, id_token) if id_token else ""
        if not url:
            return response
        # Not by a redirect: `form-action 'self'` holds for those that follow a form, too.
        context = {"url": url, "provider": provider().name}
        shown = render(request, "registration/logged_out.html", context)
        shown["Refresh"] = f"0; url={url}"
        return shown


def _logout_url(request: HttpRequest, id_token: str) -> str:
    """'' when it ends no sessions, or can't be asked."""
    try:
        if "end_session_endpoint" not in client().load_server_metadata():
            return ""
    except Unavailable as error:
        logger.warning("%s", error)
        return ""
    after = request.build_absolute_uri(reverse("login"))
    return str(client().create_logout_url(post_logout_redirect_uri=after, id_token_hint=id_token)["url"])


def _own(request: HttpRequest, url: str) -> str:
    is_ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if is_ours else resolve_url("overview")


def _unavailable(request: HttpRequest, error: Unavailable, next_url: str) -> HttpResponse:
    logger.warning("%s", error)
    told = _("%(provider)s can't be asked at the moment, so nobody can log in there. A local account still works.")
    messages.error(request, told % {"provider": provider().name})
    if request.user.is_authenticated:
        return redirect(next_url)
    return redirect(f"{reverse('login')}?{urlencode({'next': next_url})}")


def _refused(request: HttpRequest, error: Refused) -> HttpResponse:
    name = request.user.get_username() or NOBODYS
    address = client_address(request)
    logger.warning("login by the identity provider refused: %s", error, extra={"address": address})
    if not _are_too_many(address):
        detail = {"provider": provider().issuer, "reason": str(error)}
        actor = Actor(kind=ActorKind.PERSON, name=name, address=address)
        audit.record(actor=actor, action="login.fail", object_kind="user", object_id=name, detail=detail)
    context = {"told": error.told, "provider": provider().name}
    return render(request, "registration/refused.html", context, status=403)


def _are_too_many(address: str) -> bool:
    newest = (
        AuditEntry.objects.filter(action="login.fail").order_by("-pk").values_list("actor_address", "at")[:LOOKED_AT]
    )
    since = timezone.now() - timedelta(minutes=1)
    return sum(whose == address and at > since for whose, at in newest) >= FAILURES_A_MINUTE
