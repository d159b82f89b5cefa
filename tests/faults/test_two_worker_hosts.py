"""Two worker hosts with addresses of their own, one PostgreSQL: they share a deploy, and one of them gets lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from deploys.models import Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus
from inventory.models import Instance
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.lab import wait_for_end, wait_until
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.private_postgres import default_database, private_postgres
from tests.support.sshd import SshServer
from tests.support.two_hosts import GATEWAY, NETWORK, Host, network_of
from tests.support.worker import WorkerHost, running_worker

pytestmark = pytest.mark.timeout(300)

NODES = 12
RESTART = """
echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"
while [ -e {hold} ]; do sleep 0.1; done
"""


@dataclass(frozen=True, kw_only=True)
class World:
    hosts: Sequence[Host]
    workers: Sequence[WorkerHost]
    fleet: Sequence[Instance]
    packages: PackageHost
    hold: Path

    def deploy(self, version: str) -> Operation:
        self.packages.add(f"{version}.tar.gz", package({"app.py": version * 100}))
        url = f"http://{GATEWAY}:{self.packages.port}/{version}.tar.gz"
        request = DeployRequest(service="user-service", version=version, instances=ids(self.fleet), package_url=url)
        return start_deploy(access=SCHEDULER, request=request)

    def at_work(self) -> set[str]:
        """The workers that hold targets which are in their restart command."""
        at_work = Target.objects.filter(step="restart", lease__isnull=False)
        return {name for name in at_work.values_list("lease__worker", flat=True) if name}

    def restarts(self) -> list[str]:
        return [(Path(each.deploy_root) / "restarts").read_text() for each in self.fleet]


@pytest.fixture
def world(
    own_sshd: SshServer, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stack:
        hosts = stack.enter_context(network_of(2))
        postgres = stack.enter_context(private_postgres(address=GATEWAY, network=NETWORK))
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(default_database(postgres.url))
        packages = PackageHost(tmp_path_factory.mktemp("packages"), address=GATEWAY)
        packages.start()
        stack.callback(packages.stop)
        hold = own_sshd.folder / "hold"
        fleet = make_fleet(own_sshd, hold)
        workers = [
            stack.enter_context(
                running_worker(
                    {
                        "RELEASE_DATA_DIR": str(folder / host.name),
                        "RELEASE_SSH_KEY_FILE": str(own_sshd.private_key),
                        "RELEASE_PACKAGE_HOSTS": f"{GATEWAY}:{packages.port}",
                        "RELEASE_WORKERS": "1",
                        "RELEASE_CONCURRENCY": "4",
                        "SECRET_KEY": settings.SECRET_KEY,
                    },
                    wait=False,
                    within=host.within,
                )
            )
            for host in hosts
        ]
        for worker in workers:
            await_canary(worker)
        yield World(hosts=hosts, workers=workers, fleet=fleet, packages=packages, hold=hold)


def await_canary(worker: WorkerHost) -> None:
    wait_until(lambda: worker.canary_at() is not None, what=f"canary of {worker.name}", seconds=60)


def make_fleet(sshd: SshServer, hold: Path) -> list[Instance]:
    """One instance on each node; the nodes are reached by the network's address of this machine."""
    sshd.stop()
    with (sshd.folder / "sshd_config").open("a") as configuration:
        configuration.write(f"ListenAddress {GATEWAY}:{sshd.port}\n")
    sshd.start()
    service = make_service(restart_command=RESTART.format(hold=hold), command_timeout=120)
    fields = {**sshd.node_fields, "host": GATEWAY}
    return [
        make_instances(service, make_node(f"node-{number}", **fields), 1, root=sshd.node_root(), prefix=f"i{number}")[0]
        for number in range(1, NODES + 1)
    ]


def test_they_share_a_deploy_and_one_that_is_cut_off_or_killed_is_taken_over_from(world: World) -> None:
    both = {worker.name for worker in world.workers}

    # Shared: both are in the middle of restarts, and the first is cut off there.
    world.hold.touch()
    operation = world.deploy("v1")
    wait_until(lambda: world.at_work() == both, what="work on both hosts", seconds=30)
    world.hosts[0].cut_off()
    world.hold.unlink()
    seconds = wait_for_end(operation, seconds=60)

    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("status", "error_message"))
    assert world.restarts() == ["v1\n"] * NODES
    print(f"cut off: all done {seconds:.1f} s later")

    # Back again, it takes its share; and the other one dies.
    world.hosts[0].reconnect()
    world.hold.touch()
    operation = world.deploy("v2")
    wait_until(lambda: world.at_work() == both, what="work on both hosts again", seconds=45)
    world.workers[1].kill_all()
    world.hold.unlink()
    seconds = wait_for_end(operation, seconds=60)

    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("status", "error_message"))
    assert world.restarts() == ["v1\nv2\n"] * NODES
    print(f"killed: all done {seconds:.1f} s later")
