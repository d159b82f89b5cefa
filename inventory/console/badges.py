"""How a state is shown: as an icon, its label and a tone together. What it is called is for its choices to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import TextChoices
from django.utils.functional import Promise

from inventory.actors import ActorKind
from inventory.models import Health, RunStatus


class Look(NamedTuple):
    """icon: a symbol of the sprite. tone: ok, fail, run, warn or idle."""

    icon: str
    tone: str = "idle"


@dataclass(frozen=True, kw_only=True)
class Badge:
    label: str | Promise
    icon: str = "question"
    tone: str = "idle"


Badges = Mapping[str, Badge]


def badges(choices: type[TextChoices], looks: Mapping[TextChoices, Look]) -> Badges:
    """One for each of the choices; KeyError for one that has no look."""
    return {
        choice.value: Badge(label=choice.label, icon=looks[choice].icon, tone=looks[choice].tone) for choice in choices
    }


RUN = badges(
    RunStatus,
    {
        RunStatus.RUNNING: Look("play", "ok"),
        RunStatus.DEPLOYING: Look("spinner", "run"),
        RunStatus.ROLLING_BACK: Look("undo", "warn"),
        RunStatus.FAILED: Look("x", "fail"),
        RunStatus.STOPPED: Look("stop", "warn"),
        RunStatus.UNKNOWN: Look("question"),
    },
)
HEALTH = badges(
    Health,
    {
        Health.HEALTHY: Look("heart", "ok"),
        Health.UNHEALTHY: Look("alert", "fail"),
        Health.UNKNOWN: Look("question"),
    },
)
ACTOR = badges(
    ActorKind,
    {
        ActorKind.PERSON: Look("user"),
        ActorKind.TOKEN: Look("key"),
        ActorKind.NODE: Look("server"),
        ActorKind.SYSTEM: Look("settings"),
    },
)
