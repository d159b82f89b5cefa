"""Who a login of the provider's is here. Found by issuer and subject alone: a name or an e-mail address proves nothing.

What somebody may do is set anew at each login.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from inventory.actors import Actor, ActorKind
from inventory.models import Service
from inventory.security import audit
from inventory.security.redaction import clean_text
from releasesite.api.people import SCOPES_OF_GROUP
from releasesite.login.oidc.configured import provider
from releasesite.login.oidc.errors import Refused
from releasesite.models import Identity, ServiceLimit

EVERY_SERVICE = "*"
MOST_OF_NAME = 100
_SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")
_NOT_IN_NAMES = re.compile(r"[^\w.@+-]")


def admit(claims: Mapping[str, Any], *, address: str) -> User:
    """The person, with the roles and services that the claims give now. Raises Refused; what was taken away stays so."""
    try:
        user = _admitted(claims, address)
    except IntegrityError:  # their first login, twice at once
        user = _admitted(claims, address)
    if user is None or not _roles(claims):
        raise Refused(f"{_wanted_name(claims)} is in no group that gives a role", _told_of_no_role(claims))
    if not user.is_active:
        raise Refused(f"{user.get_username()} is kept out", _("An admin has closed your account here."))
    return user


def is_of(claims: Mapping[str, Any], user: User) -> bool:
    return Identity.objects.filter(issuer=claims["iss"], subject=claims["sub"], user=user).exists()


@transaction.atomic
def _admitted(claims: Mapping[str, Any], address: str) -> User | None:
    """None for somebody whom we don't know and who may do nothing: no account is made."""
    issuer, subject = claims["iss"], claims["sub"]
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise Refused("sub is no subject", _("The identity provider's answer names nobody."))
    known = Identity.objects.select_related("user").filter(issuer=issuer, subject=subject).first()
    if known is None and not _roles(claims):
        return None
    user = known.user if known else _new_person(claims)
    changes = _set_all(user, claims)
    actor = Actor(kind=ActorKind.PERSON, name=user.get_username(), address=address)
    detail = {"provider": issuer, "changes": changes}
    if known is None or changes:
        action = "user.change" if known else "user.create"
        audit.record(actor=actor, action=action, object_kind="user", object_id=user.get_username(), detail=detail)
    return user


def _new_person(claims: Mapping[str, Any]) -> User:
    user = User.objects.create_user(_free_name(_wanted_name(claims)))
    Identity.objects.create(user=user, issuer=claims["iss"], subject=claims["sub"])
    return user


def _wanted_name(claims: Mapping[str, Any]) -> str:
    given = next(name for key in ("preferred_username", "email", "sub") if (name := _text(claims, key, MOST_OF_NAME)))
    return _NOT_IN_NAMES.sub("-", User.normalize_username(given))[:MOST_OF_NAME]


def _free_name(wanted: str) -> str:
    """One that looks like nobody else's, a local account's first of all."""
    return next(name for name in _candidates(wanted) if not User.objects.filter(username__iexact=name).exists())


def _candidates(wanted: str) -> Iterator[str]:
    host = (urlsplit(provider().issuer).hostname or "")[:40]
    yield from (wanted, f"{wanted}@{host}")
    yield from (f"{wanted}-{number}@{host}" for number in count(2))


def _set_all(user: User, claims: Mapping[str, Any]) -> dict[str, list[str]]:
    """What has changed of what they may do, from what to what."""
    user.first_name, user.last_name = _text(claims, "given_name", 150), _text(claims, "family_name", 150)
    user.email = _email(claims)
    changes = {**_set_roles(user, _roles(claims)), **_set_services(user, claims)}
    if user.is_superuser:
        changes["is_superuser"] = ["True", "False"]
        user.is_superuser = False
    if user.has_usable_password():
        user.set_unusable_password()
    user.save(update_fields=["first_name", "last_name", "email", "is_superuser", "password"])
    return changes


def _roles(claims: Mapping[str, Any]) -> frozenset[str]:
    roles: frozenset[str] = provider().roles_of(_texts(claims.get(provider().groups_claim)))
    return roles


def _set_roles(user: User, roles: frozenset[str]) -> dict[str, list[str]]:
    """Other groups are no matter of the provider's: alone they let nobody in."""
    before = frozenset(user.groups.filter(name__in=SCOPES_OF_GROUP).values_list("name", flat=True))
    if before == roles:
        return {}
    user.groups.remove(*Group.objects.filter(name__in=before - roles))
    user.groups.add(*(Group.objects.get_or_create(name=role)[0] for role in roles - before))
    return {"groups": [", ".join(sorted(before)), ", ".join(sorted(roles))]}


def _set_services(user: User, claims: Mapping[str, Any]) -> dict[str, list[str]]:
    """Without a claim for it, an admin limits people here."""
    if not provider().services_claim:
        return {}
    names = _texts(claims.get(provider().services_claim))
    before = _limit_of(user)
    if EVERY_SERVICE in names:
        ServiceLimit.objects.filter(user=user).delete()
    else:
        limit, _made = ServiceLimit.objects.get_or_create(user=user)
        limit.services.set(Service.objects.filter(name__in=names))
    after = _limit_of(user)
    return {} if before == after else {"services": [before, after]}


def _limit_of(user: User) -> str:
    limit = ServiceLimit.objects.filter(user=user).first()
    return EVERY_SERVICE if limit is None else ", ".join(sorted(limit.services.values_list("name", flat=True)))


def _texts(claim: Any) -> frozenset[str]:
    """A claim of one value may come as a text. One of another kind gives nothing."""
    values = [claim] if isinstance(claim, str) else claim
    return frozenset(value for value in values if isinstance(value, str)) if isinstance(values, list) else frozenset()


def _text(claims: Mapping[str, Any], name: str, most: int) -> str:
    value = claims.get(name)
    return clean_text(value).strip()[:most] if isinstance(value, str) else ""


def _email(claims: Mapping[str, Any]) -> str:
    email = _text(claims, "email", 254)
    try:
        validate_email(email)
    except ValidationError:
        return ""
    return email


def _told_of_no_role(claims: Mapping[str, Any]) -> str:
    groups = ", ".join(sorted(_texts(claims.get(provider().groups_claim))))[:300]
    told = _(
        "%(provider)s knows you as %(name)s, but none of your groups there has a role here. It named: %(groups)s. Ask an admin."
    )
    name = _wanted_name(claims)
    return told % {"provider": provider().name, "name": name, "groups": groups or _("no groups")}
