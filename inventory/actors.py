"""Who asks for a change."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext_lazy as _


class ActorKind(models.TextChoices):
    PERSON = "person", _("Person")
    TOKEN = "token", _("Scheduler")
    NODE = "node", _("Node")
    SYSTEM = "system", _("System")


@dataclass(frozen=True, kw_only=True)
class Actor:
    """kind and name are stored with every change; address is the caller's IP address, '' for the system itself."""

    kind: ActorKind
    name: str
    address: str = ""


SYSTEM = Actor(kind=ActorKind.SYSTEM, name="system")
