"""Where what should run, what `current` leads to and what the process says of itself differ: in words, and as conditions."""

from __future__ import annotations

from django.db.models import F, Q, TextChoices
from django.utils.translation import gettext_lazy as _


class Drift(TextChoices):
    """link: `current` leads to another version than it should. process: another version runs than it leads to."""

    LINK = "link", _("link drifted")
    PROCESS = "process", _("process drifted")

    @classmethod
    def of(cls, *, running: str, expected: str, process: str) -> Drift | None:
        """Of an instance's versions, each '' when it is not known; a link that drifted is told of first."""
        if expected and running != expected:
            return cls.LINK
        return cls.PROCESS if process and process != running else None


# The same, of Instance rows. The second holds for one whose link drifted, too.
LINK_DRIFTED = ~Q(expected_version="") & ~Q(running_version=F("expected_version"))
PROCESS_DIFFERS = ~Q(process_version="") & ~Q(process_version=F("running_version"))
DRIFTED = LINK_DRIFTED | PROCESS_DIFFERS
DRIFTED_AS = {Drift.LINK: LINK_DRIFTED, Drift.PROCESS: PROCESS_DIFFERS & ~LINK_DRIFTED}
