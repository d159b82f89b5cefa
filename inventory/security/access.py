"""What a caller may do, and on which services. Set as `request.access`; every queryset a caller reads goes through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from django.db import models

from inventory.actors import SYSTEM, Actor

ModelT = TypeVar("ModelT", bound=models.Model)


class Scope(models.TextChoices):
    READ = "read"
    DEPLOY = "deploy"
    REPORT = "report"
    INVENTORY = "inventory"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Access:
    """scopes is complete: nothing in it implies another. services: primary keys, or None for all of them."""

    actor: Actor
    scopes: frozenset[Scope]
    services: frozenset[int] | None

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes

    def visible(self, queryset: models.QuerySet[ModelT], path: str = "service_id") -> models.QuerySet[ModelT]:
        """The rows of the caller's services. path leads from the row to the service's key ("pk" for services)."""
        if self.services is None:
            return queryset
        return queryset.filter(**{f"{path}__in": self.services})


SYSTEM_ACCESS = Access(actor=SYSTEM, scopes=frozenset(Scope), services=None)


def access_of(request: object) -> Access:
    """The caller's access, of a Django or a DRF request. Only for views behind a permission or login check."""
    access = getattr(request, "access", None)
    if not isinstance(access, Access):
        raise RuntimeError("This view is reached without a check of who calls.")
    return access
