"""Liars and honest instances, each a service of its own, and one worker process that works on both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploys.models import Operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.queue.names import QUEUES
from inventory.models import Instance, Service
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.faults.hostile.fleet import Liar
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.lab import wait_for_end
from tests.support.lone_work_loop import lone_work_loop
from tests.support.package_builder import package
from tests.support.package_host import Behaviour, PackageHost
from tests.support.sshd import SshServer

HONEST, LYING = "honest-service", "lying-service"
# Beside the kinds of lying nodes: honest nodes whose commands print too much, and a package host that drips.
FLOODS, DRIPS = "flooding commands", "dripping package host"
FLOODING = (
    'yes "" | head -c 1000000',
    *["seq 1 200000"] * 5,
    "yes a line of output | head -c 100000000",
    "head -c 5000000 /dev/urandom",
    "head -c 5000000 /dev/zero",
    "yes 'https://u:pw@h/a,' | head -c 3000000 | tr -d '\\n' >&2",
)
# What these nodes spend is not to be taken from the honest ones.
ELSEWHERE = "renice -n 19 -p $$ >/dev/null\n"
DRIPPED_DEPLOYS = 6
LIARS_COMMAND_SECONDS = 3
HONEST_SECONDS = 60.0
# A work loop for ever, its bounds shortened in proportion: a silent node may cost 1,800 s, a cancel 60.
PROGRAM = """
import os, time
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.dup2(log, 1), os.dup2(log, 2)
from deploys.node import session
from deploys.worker import recovery, staging, work_loop
from deploys.worker.interruption import Deadlines
staging.STAGE_TIMEOUT_SECONDS = 9
session.STATE_SECONDS, session.ABORT_SECONDS, session.SPARE_SECONDS = 4, 2, 3
recovery.SPARE_SECONDS, recovery.CLAIM_SECONDS = 2, 6
shorter = Deadlines(
    grace_seconds=1, bound_seconds=6, recovering_grace_seconds=1, recovering_bound_seconds=6, abort_seconds=2
)
while True:
    work_loop.run({queue!r}, deadlines=shorter)
    time.sleep(0.05)
"""
RESTART = """
echo "restarting $RELEASE_VERSION"
sleep 0.3
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    honest: Sequence[Instance]
    service: Service
    lying: Service
    flooding: Sequence[Instance]
    dripped: Sequence[Instance]
    package_host: PackageHost
    worker: psutil.Process
    variables: Mapping[str, str]
    log: Path
    honest_failures: list[str] = field(default_factory=list)

    def deploy_honestly(self, version: str) -> float:
        """How long it took."""
        url = self._package(f"honest-{version}")
        request = DeployRequest(service=HONEST, version=version, instances=ids(self.honest), package_url=url)
        return self._timed(start_deploy(access=SCHEDULER, request=request))

    def roll_back_honestly(self) -> float:
        request = InstanceRollbackRequest(instance_id=self.honest[0].instance_id, target_version=None)
        return self._timed(start_instance_rollback(access=SCHEDULER, request=request))

    def begin(self) -> list[Operation]:
        """Deploys to all that make trouble."""
        lying = list(self.lying.instances.order_by("pk"))
        url = self._package("lying") if lying else ""
        begun = [_deploy(LYING, lying, url)] if lying else []
        begun += [_deploy(each.service.name, [each], self._package(each.instance_id)) for each in self.flooding]
        return [*begun, *(_deploy(DRIPS.replace(" ", "-"), [each], self._dripping(each)) for each in self.dripped)]

    def _dripping(self, instance: Instance) -> str:
        self._package(instance.instance_id)
        return self.package_host.behave(f"{instance.instance_id}.tar.gz", Behaviour(chunk_bytes=1, pause_seconds=5))

    def _timed(self, operation: Operation) -> float:
        try:
            seconds = wait_for_end(operation, seconds=HONEST_SECONDS)
        except AssertionError as error:
            self.honest_failures.append(str(error))
            return HONEST_SECONDS
        for target in operation.targets.exclude(status="completed"):
            self.honest_failures.append(f"an honest target is {target.status}: {target.error_message}")
        return seconds

    def _package(self, name: str) -> str:
        return self.package_host.add(f"{name}.tar.gz", package({"app.py": f"print('{name}')\n" * 200}))


@contextmanager
def site(
    folder: Path,
    package_host: PackageHost,
    sshd: SshServer,
    liars: Sequence[Liar],
    kinds: Collection[str] = (FLOODS, DRIPS),
) -> Iterator[Site]:
    """Needs a database that other processes can see. The honest service runs v0 when it begins, so that all is warm."""
    service = make_service(HONEST, restart_command=RESTART, before_switch_command="true", command_timeout=30)
    lying = make_service(
        LYING, restart_command="true", before_switch_command="true", command_timeout=LIARS_COMMAND_SECONDS
    )
    _make_liars(lying, liars)
    log = folder / "worker.log"
    log.touch()
    variables = {
        "RELEASE_PACKAGE_HOSTS": package_host.netloc,
        "RELEASE_SSH_KEY_FILE": str(sshd.private_key),
        "RELEASE_WORKERS": "1",
    }
    programs = {queue: PROGRAM.format(queue=queue, log=str(log)) for queue in QUEUES}
    deploys, rollbacks = sorted(QUEUES)
    with (
        lone_work_loop(deploys, variables, first=programs[deploys]) as worker,
        lone_work_loop(rollbacks, variables, first=programs[rollbacks]),
    ):
        here = Site(
            honest=_make_honest(service, folder, sshd),
            service=service,
            lying=lying,
            flooding=_make_flooding(folder) if FLOODS in kinds else [],
            dripped=_make_dripped(folder) if DRIPS in kinds else [],
            package_host=package_host,
            worker=worker,
            variables=variables,
            log=log,
        )
        here.deploy_honestly("v0")
        yield here


def _make_honest(service: Service, folder: Path, sshd: SshServer) -> list[Instance]:
    """Two on this machine, four behind sshd."""
    local = make_instances(service, make_node("honest-local"), 2, root=folder / "srv", prefix="near")
    remote = make_instances(service, make_node("honest-ssh", **sshd.node_fields), 4, prefix="far")
    for instance in remote:
        instance.deploy_root = sshd.node_root()
        instance.save()
    return [*local, *remote]


def _make_flooding(folder: Path) -> list[Instance]:
    """Each of a service of its own, for its command."""
    node = make_node("flooding")
    made = []
    for number, command in enumerate(FLOODING):
        service = make_service(f"flooding-{number}", restart_command=f"{ELSEWHERE}{command}", command_timeout=30)
        made += make_instances(service, node, 1, root=folder / "srv", prefix=f"flooding-{number}")
    return made


def _make_dripped(folder: Path) -> list[Instance]:
    service = make_service(DRIPS.replace(" ", "-"))
    return make_instances(service, make_node("dripped"), DRIPPED_DEPLOYS, root=folder / "srv", prefix="dripped")


def _make_liars(service: Service, liars: Sequence[Liar]) -> None:
    for liar in liars:
        node = make_node(liar.name, **liar.fields)
        make_instances(service, node, liar.instances, prefix=liar.name)


def _deploy(service: str, instances: Sequence[Instance], url: str) -> Operation:
    request = DeployRequest(service=service, version="v1", instances=ids(instances), package_url=url)
    return start_deploy(access=SCHEDULER, request=request)
