"""One service's 200 slow operations keep another service's one operation waiting for no more than a moment."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from deploys.models import Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, Step, TargetStatus
from inventory.models import Instance, Service
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.lab import wait_for_end, wait_until
from tests.support.package_builder import package
from tests.support.package_host import Behaviour, PackageHost
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

SLOW_OPERATIONS = 200
BEGIN_SECONDS = 5
END_SECONDS = 20
# The kernel takes connections for it; nobody answers.
SILENT = socket.create_server(("127.0.0.1", 0), backlog=512)


def deploy(instance: Instance, url: str) -> Operation:
    request = DeployRequest(service=instance.service.name, version="v1", instances=ids([instance]), package_url=url)
    return start_deploy(access=SCHEDULER, request=request)


def fleet(folder: Path, service: Service, count: int, **node: object) -> list[Instance]:
    """Each instance on a node of its own."""
    name = service.name
    return [
        make_instances(service, make_node(f"{name}-{n}", **node), 1, root=folder, prefix=f"{name}-{n}")[0]
        for n in range(count)
    ]


def dripping_host(folder: Path, package_host: PackageHost) -> list[Operation]:
    package_host.add("slow.tar.gz", package({"app.py": "print('v1')\n" * 200}))
    url = package_host.behave("slow.tar.gz", Behaviour(chunk_bytes=1, pause_seconds=5))
    return [deploy(instance, url) for instance in fleet(folder, make_service("slow"), SLOW_OPERATIONS)]


def hanging_restarts(folder: Path, package_host: PackageHost) -> list[Operation]:
    url = package_host.add("slow.tar.gz", package({"app.py": "print('v1')\n"}))
    service = make_service("slow", restart_command="exec sleep 100")
    return [deploy(instance, url) for instance in fleet(folder, service, SLOW_OPERATIONS)]


def silent_nodes(folder: Path, package_host: PackageHost) -> list[Operation]:
    """They take the connection and say nothing more."""
    url = package_host.add("slow.tar.gz", package({"app.py": "print('v1')\n"}))
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    node = {"transport": "ssh", "ssh_user": "x", "ssh_host_key": key, "ssh_port": SILENT.getsockname()[1]}
    return [deploy(instance, url) for instance in fleet(folder, make_service("slow"), SLOW_OPERATIONS, **node)]


@pytest.mark.parametrize(
    ("slow", "step"),
    [(dripping_host, Step.FETCH), (hanging_restarts, Step.RESTART), (silent_nodes, Step.CONNECT)],
    ids=["dripping host", "hanging restarts", "silent nodes"],
)
def test_another_services_operation_is_carried_out_at_once(
    slow: Callable[[Path, PackageHost], list[Operation]], step: Step, tmp_path: Path, package_host: PackageHost
) -> None:
    operations = slow(tmp_path, package_host)
    (instance,) = fleet(tmp_path, make_service("honest"), 1)
    url = package_host.add("v1.tar.gz", package({"app.py": "print('v1')\n"}))
    with running_worker({"RELEASE_PACKAGE_HOSTS": package_host.netloc}, wait=False):
        waiting = Target.objects.filter(operation__in=operations, status=TargetStatus.IN_PROGRESS, step=step)
        wait_until(lambda: waiting.count() >= 80, what=f"80 slow operations in {step}", seconds=90)

        honest = deploy(instance, url)

        wait_until(
            lambda: Target.objects.get(operation=honest).status != TargetStatus.PENDING,
            what="beginning of the other service's deploy",
            seconds=BEGIN_SECONDS,
        )
        wait_for_end(honest, seconds=END_SECONDS)
    assert honest.status == OperationStatus.COMPLETED, list(honest.targets.values("error_message"))
    assert Operation.objects.filter(pk__in=[each.pk for each in operations], finished_at=None).count() > 100
