"""What a logged-in person may do, from groups and an optional limit to some services."""

from __future__ import annotations

from django.contrib.auth.models import User

from inventory.actors import Actor, ActorKind
from inventory.security.access import Access, Scope
from releasesite.models import ServiceLimit

SCOPES_OF_GROUP: dict[str, frozenset[Scope]] = {
    "viewer": frozenset({Scope.READ}),
    "operator": frozenset({Scope.READ, Scope.DEPLOY}),
    "admin": frozenset(Scope),
}


def access_of_user(user: User, *, address: str) -> Access:
    actor = Actor(kind=ActorKind.PERSON, name=user.get_username(), address=address)
    if user.is_superuser:
        return Access(actor=actor, scopes=frozenset(Scope), services=None)
    return Access(actor=actor, scopes=_scopes(user), services=_services(user))


def _scopes(user: User) -> frozenset[Scope]:
    groups = user.groups.values_list("name", flat=True)
    return frozenset().union(*(SCOPES_OF_GROUP.get(group, frozenset()) for group in groups))


def _services(user: User) -> frozenset[int] | None:
    limits = list(ServiceLimit.objects.filter(user=user).values_list("services", flat=True))
    if not limits:
        return None
    return frozenset(service_id for service_id in limits if service_id is not None)
