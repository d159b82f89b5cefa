"""(f) A warm rollback of one instance over SSH, from the POST to `completed`, by its steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.results import Table
from bench.site import Foundation, Site, make_fleet, running_site

if TYPE_CHECKING:
    from inventory.models import Instance

TIMES = 20
VERSIONS = 12


def rollback(base: Foundation) -> list[Table]:
    table = Table(
        key="rollback",
        title="A warm rollback of one instance over SSH, from the POST to `completed`",
        unit="ms",
        goal="< 300 ms in all",
    )
    with running_site(base) as site:
        (instance,) = make_fleet(base, 1, prefix="single")
        parts: dict[str, list[float]] = {}
        for name, found in _times(site, instance):
            parts.setdefault(name, []).append(found)
    for name, values in parts.items():
        table.add(name, values)
    return [table]


def _times(site: Site, instance: Instance) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    while len(found) < TIMES * 5:
        versions = [site.new_version() for _ in range(VERSIONS)]
        for version, url in versions:
            site.deploy([instance], version, url)
        site.roll_back_one(instance)
        for _ in range(VERSIONS - 2):
            time.sleep(0.7)
            found += _one(site, instance)
    return found


def _one(site: Site, instance: Instance) -> list[tuple[str, float]]:
    """The node's own time is that of the switch command on it: to check the release, move the link and restart."""
    public_id, seconds = site.roll_back_one(instance)
    row = site.database.execute(
        """
        SELECT extract(epoch FROM t.started_at - o.started_at), t.step_seconds,
            extract(epoch FROM t.finished_at - t.started_at)
        FROM deploys_operation o JOIN deploys_target t ON t.operation_id = o.id
        WHERE o.kind = 'rollback' AND o.public_id = %s
        """,
        [public_id],
    ).fetchone()
    assert row is not None
    queued, steps, worked = float(row[0]), row[1], float(row[2])
    restart = steps.get("restart", 0.0)
    switch = steps.get("switch", 0.0)
    others = worked - switch - restart
    parts = {
        "in all": seconds,
        "POST handled, message taken, target claimed": seconds - worked if seconds > worked else queued,
        "permission to switch, result recorded (two commits)": others,
        "node: claim, check, link (one call)": switch,
        "node: restart command, clean-up": restart,
    }
    return [(name, value * 1000) for name, value in parts.items()]
