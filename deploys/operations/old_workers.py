"""Workers of an older version beside a newer web, in the middle of an upgrade (docs/upgrade.md).

A worker before 0.2.0 knows neither `until` nor `confirm_within`: it would switch what was only to be looked at or staged, and
leave running what was to go back. Which worker claims a target is not foreseen, so nothing of the kind begins while one is there.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from deploys.models import Operation, Worker
from deploys.states import Until
from inventory.errors import Problem

# Its supervisor beats every few seconds, and its row goes when it stops; one that was killed is waited for this long.
HEARD_WITHIN = timedelta(seconds=60)


def old_worker_problems(*, until: str, confirm_within: int) -> list[Problem]:
    """A problem `workers_outdated` if a deploy asks for what a worker that is there would not do."""
    asked = [("until", until != Until.SWITCHED), ("confirm_within", bool(confirm_within))]
    attr = next((name for name, is_asked in asked if is_asked), None)
    if attr is None:
        return []
    # The column came with 0.2.0: an older worker leaves it empty.
    hosts = Worker.objects.filter(version="", seen_at__gt=Now() - HEARD_WITHIN).values_list("host", flat=True)
    if not hosts:
        return []
    detail = _(
        "A worker of a version before 0.2.0 still works on %(hosts)s: it does not know %(attr)s, and would switch the instances "
        "for good. Upgrade or stop it, then ask again."
    ) % {"hosts": ", ".join(sorted(set(hosts))), "attr": attr}
    return [Problem(code="workers_outdated", detail=detail, attr=attr)]


def beyond_old_workers() -> list[str]:
    """The ids of the unfinished deploys that a worker before 0.2.0 must not get."""
    rows = Operation.objects.filter(finished_at=None).exclude(Q(until=Until.SWITCHED) & Q(confirm_within=0))
    return list(rows.order_by("pk").values_list("public_id", flat=True))
