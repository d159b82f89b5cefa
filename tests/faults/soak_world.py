"""The soak's fleet: two worker hosts, a local node, a node behind sshd and a proxy; and what is asked of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from deploys.models import Operation
from deploys.operations.cancel import cancel_operation
from deploys.operations.confirm import confirm_deploy
from deploys.operations.hold import hold_service, release_service
from deploys.operations.retry import retry_operation
from deploys.states import Kind, Until
from inventory.errors import ReleaseError
from inventory.models import Instance, Service
from tests.faults.soak import Report
from tests.faults.soak_events import listen
from tests.faults.soak_liars import FLOODS, liars, with_liars
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service
from tests.support.lab import RESTART, Lab, wait_for_end
from tests.support.package_host import Behaviour, serving
from tests.support.sshd import SshServer, ssh_server
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.webhook_receiver import Receiver, receiving
from tests.support.worker import WorkerHost, running_worker

HOSTS = 2
LOCAL_INSTANCES, SSH_INSTANCES = 4, 4
# A window to hit in the middle of a switch.
SLOW_RESTART = f"sleep 0.2{RESTART}"


@dataclass(kw_only=True)
class World:
    lab: Lab
    service: Service
    sshd: SshServer
    proxy: TcpProxy
    report: Report
    receiver: Receiver
    lying: Sequence[Instance] = ()
    hosts: list[WorkerHost] = field(default_factory=list)
    _stacks: list[ExitStack] = field(default_factory=list)
    _variables: dict[str, str] = field(default_factory=dict)
    _number: int = 0

    def start_hosts(self) -> None:
        self._variables = {
            "RELEASE_PACKAGE_HOSTS": self.lab.package_host.netloc,
            "RELEASE_SSH_KEY_FILE": str(self.sshd.private_key),
            "RELEASE_WEBHOOK_HOSTS": self.receiver.netloc,
        }
        for number in range(HOSTS):
            self._stacks.append(ExitStack())
            self.hosts.append(self._stacks[number].enter_context(running_worker(self._variables)))

    def replace_host(self, number: int) -> None:
        """A new worker host in the place of one that is gone; whatever is left of that is killed."""
        self._stacks[number].close()
        self.hosts[number] = self._stacks[number].enter_context(running_worker(self._variables, wait=False))

    def stop_hosts(self) -> None:
        for stack in self._stacks:
            stack.close()

    def operate(self, chance: random.Random) -> None:
        """One call, as a scheduler or a person might make it; a refusal (an instance is busy) is an answer too."""
        calls = (self._deploy, self._roll_back, self._cancel, self._retry, self._hold, self._release, self._confirm)
        (call,) = chance.choices(calls, weights=(6, 3, 1, 2, 0.5, 1, 2))
        name = call.__name__.strip("_")
        try:
            call(chance)
        except (ReleaseError, LookupError):
            name = f"{name}, refused"
        self.report.operations[name] += 1

    def _deploy(self, chance: random.Random) -> None:
        (until,) = chance.choices(list(Until), weights=(1, 2, 5))
        version = self._version(chance)
        if chance.random() < 0.1:
            self.lab.package_host.behave(f"{version}.tar.gz", Behaviour(status=503, times=1))
        instances = chance.sample(self.lab.instances, chance.choice((1, 1, 2, 3, len(self.lab.instances))))
        self.lab.deploy(
            version,
            broken=version.startswith("broken"),
            instances=with_liars(instances, self.lying, chance),
            until=until,
            confirm_within=(within := chance.choice((0, 0, 1, 3)) if until == Until.SWITCHED else 0),
        )
        self.report.operations[f"until {until}{', to be confirmed' if within else ''}"] += 1

    def _version(self, chance: random.Random) -> str:
        """A new one, or one that was staged."""
        staged = list(
            Operation.objects.filter(until=Until.STAGED).order_by("-pk").values_list("version", flat=True)[:3]
        )
        if staged and chance.random() < 0.4:
            return chance.choice(staged)
        self._number += 1
        return f"{'broken' if chance.random() < 0.2 else 'v'}{self._number}"

    def _roll_back(self, chance: random.Random) -> None:
        self.lab.roll_back(chance.choice(self.lab.instances), hold=chance.random() < 0.1)

    def _hold(self, chance: random.Random) -> None:
        """For a while: most holds end by themselves."""
        until = timezone.now() + timedelta(seconds=chance.uniform(0.2, 4))
        hold_service(access=SCHEDULER, service_name=self.service.name, reason="soak", until=until)

    def _release(self, chance: random.Random) -> None:
        release_service(access=SCHEDULER, service_name=self.service.name)

    def _confirm(self, chance: random.Random) -> None:
        operation = chance.choice(list(Operation.objects.filter(finished_at=None, confirm_within__gt=0)))
        confirm_deploy(access=SCHEDULER, public_id=operation.public_id)

    def _cancel(self, chance: random.Random) -> None:
        operation = chance.choice(list(Operation.objects.filter(finished_at=None).order_by("pk")))
        cancel_operation(access=SCHEDULER, kind=Kind(operation.kind), public_id=operation.public_id)

    def _retry(self, chance: random.Random) -> None:
        operation = chance.choice(list(Operation.objects.filter(failed__gt=0).order_by("-pk")[:10]))
        retry_operation(access=SCHEDULER, kind=Kind(operation.kind), public_id=operation.public_id)


@contextmanager
def world(folder: Path, report: Report, *, is_hostile: bool) -> Iterator[World]:
    """Every instance runs v0 when it begins."""
    packages = folder / "packages"
    packages.mkdir()
    with (
        serving(packages) as package_host,
        ssh_server() as sshd,
        tcp_proxy(sshd.port) as proxy,
        receiving() as receiver,
    ):
        listen(receiver)
        service = make_service(
            restart_command=SLOW_RESTART,
            before_switch_command="sleep 0.1",
            command_timeout=15,
            keep_releases=8,
            version_command='tail -n 1 "$RELEASE_ROOT/restarts.txt"',
        )
        if is_hostile:
            service.restart_command = f"{FLOODS}{SLOW_RESTART}"
            service.save()
        local = make_instances(service, make_node("local"), LOCAL_INSTANCES, root=folder / "srv", prefix="local")
        fields = {**sshd.node_fields, "ssh_port": proxy.port}
        remote = make_instances(service, make_node("remote", **fields), SSH_INSTANCES, prefix="remote")
        for instance in remote:
            instance.deploy_root = sshd.node_root()
            instance.save()
        lab = Lab(instances=[*local, *remote], package_host=package_host, faults=folder)
        with liars(service, seed=report.seed, is_hostile=is_hostile) as lying:
            here = World(
                lab=lab, service=service, sshd=sshd, proxy=proxy, report=report, receiver=receiver, lying=lying
            )
            try:
                here.start_hosts()
                wait_for_end(lab.deploy("v0"), seconds=60)
                yield here
            finally:
                here.stop_hosts()
