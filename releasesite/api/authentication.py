"""Who calls: a program by its bearer token, or a person by session with CSRF. Both get `request.access`."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.utils.translation import gettext as _
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from inventory.actors import Actor, ActorKind
from inventory.security.access import Access
from releasesite.api.addresses import client_address
from releasesite.api.people import access_of_user
from releasesite.models import SCOPES_OF_TOKEN, ApiToken

# Every call begins with it: as text it need not be made anew each time.
_BY_DIGEST = """
SELECT t.*, ARRAY(SELECT service_id FROM releasesite_apitoken_services WHERE apitoken_id = t.digest) AS service_ids
FROM releasesite_apitoken t WHERE t.digest = %s
"""


class BearerAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """`Authorization: Bearer TOKEN`. One query: the token by its hash, with the services it is limited to."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiToken] | None:
        authenticated = super().authenticate(request)
        if authenticated is None:
            return None
        user, token = authenticated
        address = client_address(request._request)
        if not token.may_come_from(address):
            raise PermissionDenied(_("This token may not be used from this network."), code="network_not_allowed")
        token.mark_used()
        _give(request, _access_of_token(token, address=address))
        return user, token

    def authenticate_credentials(self, token: bytes) -> tuple[AnonymousUser, ApiToken]:
        found = _find(token)
        if found is None:
            raise AuthenticationFailed(_("The token is not known."), code="token_invalid")
        if found.revoked_at is not None:
            raise AuthenticationFailed(_("The token has been revoked."), code="token_revoked")
        if found.is_expired:
            raise AuthenticationFailed(_("The token has expired."), code="token_expired")
        return AnonymousUser(), found


class CsrfSessionAuthentication(SessionAuthentication):
    def authenticate(self, request: Request) -> tuple[User, None] | None:
        authenticated = super().authenticate(request)
        if authenticated is not None:
            _give(request, access_of_user(authenticated[0], address=client_address(request._request)))
        return authenticated

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            raise PermissionDenied(str(error.detail), code="csrf_failed") from error


def _find(secret: bytes) -> ApiToken | None:
    try:
        digest = hash_token(secret.decode("ascii"))
    except UnicodeDecodeError:
        return None
    return next(iter(ApiToken.objects.raw(_BY_DIGEST, [digest])), None)


def _access_of_token(token: ApiToken, *, address: str) -> Access:
    return Access(
        actor=Actor(kind=ActorKind.TOKEN, name=token.name, address=address),
        scopes=SCOPES_OF_TOKEN[token.scope],
        services=None if token.all_services else frozenset(token.service_ids),
    )


def _give(request: Request, access: Access) -> None:
    """Set on Django's own request, where the view and every middleware see it."""
    request._request.access = access  # type: ignore[attr-defined]
