"""The person's password once more: a stolen or forgotten session must not be enough to turn a fleet around."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _

from deploys.states import Kind
from inventory.actors import ActorKind
from inventory.errors import Forbidden
from inventory.security.access import Access


def takes_password(access: Access, kind: Kind, instances: int) -> bool:
    """Programs have tokens of their own, and no password to give."""
    is_person = access.actor.kind == ActorKind.PERSON
    return is_person and kind == Kind.ROLLBACK and instances > settings.REAUTH_ABOVE


def check_password_given(access: Access, kind: Kind, instances: int, *, has_given_password: bool) -> None:
    """Raises Forbidden `password_required`."""
    if takes_password(access, kind, instances) and not has_given_password:
        raise Forbidden(
            _(
                "Rolling back more than %(most)s instances at once takes the person's password, or a login at the identity "
                "provider, again: do it at the console, or with an API token."
            )
            % {"most": settings.REAUTH_ABOVE},
            code="password_required",
        )
