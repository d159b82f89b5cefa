"""A deploy that goes back unless it is confirmed needs something to go back to (CONTRACT.md, "Confirm")."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q
from django.utils.translation import gettext as _

from inventory.errors import Problem
from inventory.models import Instance, Service


def way_back_problems(service: Service, instances: Sequence[int], *, version: str) -> list[Problem]:
    """A problem `nothing_to_revert_to` for each of the instances (keys) that would stay as it is.

    As far as is known here; the node refuses the switch where that was wrong.
    """
    nothing = Q(running_release="", found_current="")
    # A version that may come with other bytes has a folder for each.
    stays = Q(pk=None) if service.mutable_versions else Q(running_version=version)
    rows = Instance.objects.filter(nothing | stays, pk__in=instances).order_by("natural_key")
    return [
        Problem(
            code="nothing_to_revert_to",
            detail=_why(running) % {"instance": instance_id, "version": running},
            attr="instances",
            facts={"instance_id": instance_id},
        )
        for instance_id, running in rows.values_list("instance_id", "running_version")
    ]


def _why(running: str) -> str:
    if running:
        return _(
            "Instance '%(instance)s' runs '%(version)s' already, so there is nothing else to go back to. "
            "Deploy to it without confirm_within."
        )
    return _(
        "Instance '%(instance)s' runs nothing yet that it could go back to; if it does, sync the service first. "
        "Deploy to it without confirm_within."
    )
