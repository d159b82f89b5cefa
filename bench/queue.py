"""(d) From the POST to the first node touched: idle, and with every deploy worker held by a long restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Table
from bench.site import SERVICE, Foundation, Site, make_fleet, running_site
from bench.touch import Door

if TYPE_CHECKING:
    from inventory.models import Instance

TIMES = 20
HOLD = 'while [ -e "$RELEASE_ROOT/hold" ]; do sleep 0.05; done; ' + 'echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"'


def queue(base: Foundation) -> list[Table]:
    table = Table(key="queue", title="From the POST to the first node touched", unit="ms", goal="≤ 50 ms")
    held = Table(
        key="queue-held",
        title="The same for a rollback elsewhere, with all deploy workers held by restarts",
        unit="ms",
        goal="< 1,000 ms",
    )
    door = Door(base.sshd.port)
    with running_site(base) as site:
        (instance,) = make_fleet(base, 1, prefix="touched")
        _through(door, instance)
        new = [_deploy(site, door, instance, site.new_version()) for _ in range(TIMES)]
        table.add("deploy, to be downloaded and repacked", new[1:], f"the very first {new[0]:.0f} ms")
        known = [_deploy_again(site, door, instance) for _ in range(TIMES)]
        table.add("deploy, in our store by its sha256", known)
        rollbacks = [_roll_back(site, door, instance) for _ in range(TIMES // 2)]
        table.add("rollback", rollbacks[1:], f"the very first {rollbacks[0]:.0f} ms")
        held.add("rollback", _while_held(site, lambda: _roll_back(site, door, instance)))
    door.close()
    return [table, held]


def _through(door: Door, instance: Instance) -> None:
    instance.node.ssh_port = door.port
    instance.node.save(update_fields=["ssh_port"])


def _deploy(site: Site, door: Door, instance: Instance, package: tuple[str, str], sha256: str = "") -> float:
    version, url = package
    body: dict[str, object] = {
        "service": SERVICE,
        "version": version,
        "instances": [instance.instance_id],
        "package_url": url,
        **({"sha256": sha256} if sha256 else {}),
    }
    return _touch(site, door, "deploy", "/v1/deploy/execute", body)


def _deploy_again(site: Site, door: Door, instance: Instance) -> float:
    """One of the two newest packages, in turns: our store has both."""
    from deploys.models import Package

    older = Package.objects.exclude(version=_running(instance)).order_by("-pk").first()
    assert older is not None
    return _deploy(site, door, instance, (older.version, older.url), older.sha256)


def _running(instance: Instance) -> str:
    instance.refresh_from_db()
    return instance.running_version


def _roll_back(site: Site, door: Door, instance: Instance) -> float:
    """One version further back, each still on the node."""
    return _touch(site, door, "rollback", "/v1/rollback/instance", {"instance_id": instance.instance_id})


def _touch(site: Site, door: Door, kind: str, path: str, body: dict[str, object]) -> float:
    """Milliseconds. Rests before: an idle system is what counts, and what follows an operation must not be taken for this
    one's first byte (early logins of the rollbacks' workers, programs made to stand by)."""
    time.sleep(1.5)
    door.reset()
    begun = time.perf_counter()
    public_id = site.post(path, body)[f"{kind}_id"]
    touched = door.wait()
    site.ended(kind, public_id)
    return (touched - begun) * 1000


def _while_held(site: Site, measure: Callable[[], float]) -> list[float]:
    """More deploys than there are workers, each stuck in its restart."""
    from inventory.models import Service

    others = make_fleet(site.base, 6, prefix="held")
    version, url = site.new_version()
    service = Service.objects.get(name=SERVICE)
    calm = service.restart_command
    Service.objects.filter(pk=service.pk).update(restart_command=HOLD)
    for other in others:
        Path(other.deploy_root, "hold").touch()
    ids = []
    for other in others:
        body = {"service": SERVICE, "version": version, "instances": [other.instance_id], "package_url": url}
        ids.append(site.post("/v1/deploy/execute", body)["deploy_id"])
    deadline = time.monotonic() + 60
    while _restarting(site) < len(others) and time.monotonic() < deadline:
        time.sleep(0.05)
    Service.objects.filter(pk=service.pk).update(restart_command=calm)
    try:
        return [measure() for _ in range(TIMES // 2 - 1)]
    finally:
        for other in others:
            Path(other.deploy_root, "hold").unlink()
        for public_id in ids:
            site.ended("deploy", public_id)


def _restarting(site: Site) -> int:
    query = "SELECT count(*) FROM deploys_target WHERE status = 'in_progress' AND step = 'restart'"
    row = site.database.execute(query).fetchone()
    return int(row[0]) if row else 0
