"""A login by the provider, from our redirect to its answer. What was begun is kept in the session, and taken once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.common.errors import AuthlibBaseError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from joserfc.errors import JoseError

from releasesite.login.oidc.client import client, reaching
from releasesite.login.oidc.configured import provider
from releasesite.login.oidc.errors import Refused

BEGUN = "oidc_begun"
MOST_BEGUN = 5  # tabs of one browser
BEGUN_SECONDS = 900
CLOCK_SECONDS = 5  # a provider's times are whole seconds


@dataclass(frozen=True, kw_only=True)
class Login:
    """id_token: as it came, to name it at the logout. page: whose act it confirms, of a person who is logged in already."""

    claims: Mapping[str, Any]
    id_token: str
    next_url: str
    page: str


def begin(request: HttpRequest, *, next_url: str, page: str = "") -> str:
    """The provider's URL to send the person to. Raises Unavailable."""
    asked = {"prompt": "login", "max_age": "0"} if page else {}
    redirect_uri = request.build_absolute_uri(reverse("oidc-callback"))
    made = client().create_authorization_url(redirect_uri, ui_locales=get_language(), **asked)
    begun = {
        "nonce": made["nonce"],
        "code_verifier": made["code_verifier"],
        "redirect_uri": redirect_uri,
        "next_url": next_url,
        "page": page,
        "at": time.time(),
    }
    kept = list(request.session.get(BEGUN, {}).items())[1 - MOST_BEGUN :]
    request.session[BEGUN] = {**dict(kept), made["state"]: begun}
    return str(made["url"])


def finish(request: HttpRequest) -> Login:
    """Raises Refused and Unavailable."""
    begun = _take(request, request.GET.get("state", ""))
    _check_answer(request)
    token = _token(request.GET.get("code", ""), begun)
    try:
        claims = client().claims_of(token, nonce=begun["nonce"])
    except (JoseError, AuthlibBaseError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"id token: {error}", _told_of_checks()) from error
    if begun["page"]:
        _check_fresh(claims, begun)
    return Login(
        claims=_with_userinfo(claims, token),
        id_token=token["id_token"],
        next_url=begun["next_url"],
        page=begun["page"],
    )


def _take(request: HttpRequest, state: str) -> dict[str, Any]:
    all_begun = dict(request.session.get(BEGUN, {}))
    begun: dict[str, Any] | None = all_begun.pop(state, None)
    if begun is None or time.time() - begun["at"] > BEGUN_SECONDS:
        told = _(
            "This login was not begun in this browser, was finished before, or took more than a quarter of an hour."
        )
        raise Refused("no login of this session has this state", told)
    request.session[BEGUN] = all_begun
    return begun


def _check_answer(request: HttpRequest) -> None:
    """`iss`: RFC 9207, against the answer of another provider."""
    if error := request.GET.get("error"):
        reason = f"the provider answered {error[:100]}: {request.GET.get('error_description', '')[:300]}"
        told = _("%(provider)s did not log you in. It says: %(error)s.")
        raise Refused(reason, told % {"provider": provider().name, "error": error[:100]})
    if request.GET.get("iss", provider().issuer) != provider().issuer:
        raise Refused("the answer is of another issuer", _told_of_checks())


def _token(code: str, begun: Mapping[str, Any]) -> dict[str, Any]:
    with reaching(provider().issuer):
        try:
            token: dict[str, Any] = client().fetch_access_token(
                redirect_uri=begun["redirect_uri"], code=code, code_verifier=begun["code_verifier"]
            )
        except AuthlibBaseError as error:
            raise Refused(f"the provider does not take the code: {error}", _told_of_checks()) from error
    return token


def _check_fresh(claims: Mapping[str, Any], begun: Mapping[str, Any]) -> None:
    """By the provider's own clock alone: how long ago it asked the person, against how long ago we sent them there."""
    name, said_at = provider().name, claims.get("auth_time")
    if not isinstance(said_at, int | float):
        told = _("%(provider)s does not say when you logged in there (auth_time): an admin has to switch that on.")
        raise Refused("there is no auth_time", told % {"provider": name})
    if not -CLOCK_SECONDS <= claims["iat"] - said_at <= time.time() - begun["at"] + CLOCK_SECONDS:
        told = _("%(provider)s did not ask you to log in again: an earlier login is not enough for this.")
        raise Refused("auth_time is from before", told % {"provider": name})


def _with_userinfo(claims: dict[str, Any], token: dict[str, Any]) -> dict[str, Any]:
    """Some providers tell the groups there alone. What the signed token says goes before."""
    wanted = [name for name in (provider().groups_claim, provider().services_claim) if name]
    if all(name in claims for name in wanted) or "userinfo_endpoint" not in client().load_server_metadata():
        return claims
    with reaching(provider().issuer):
        userinfo = dict(client().userinfo(token=token))
    if userinfo.get("sub") != claims["sub"]:
        raise Refused("userinfo is of another person", _told_of_checks())
    return {**userinfo, **claims}


def _told_of_checks() -> str:
    told = _(
        "What came back from %(provider)s did not pass the checks: nobody was logged in. An admin finds why in the log."
    )
    return told % {"provider": provider().name}
