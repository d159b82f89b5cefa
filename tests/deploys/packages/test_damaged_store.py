"""Bytes that went bad in a worker's package store, with no change of size, are found by the node and fetched anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.models import LogLine, Operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.packages import store
from deploys.packages.store import Artifact
from deploys.states import OperationStatus
from inventory.models import Delivery, Instance
from rollbacks.services import BatchRollbackRequest, start_batch_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost
from tests.support.sshd import SshServer
from tests.support.web import running_web

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = {
    version: package({"app.py": f"print('{version}')\n", "data": os.urandom(100_000)}) for version in ("v1", "v2")
}
Start = Callable[[str], Operation]


@pytest.fixture(params=["push", "pull"])
def delivery(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Delivery]:
    if request.param == "push":
        yield Delivery.PUSH
        return
    with running_web() as web:
        settings.PUBLIC_URL = web.url
        yield Delivery.PULL


@pytest.fixture(params=[1, 2])
def fleet(
    request: pytest.FixtureRequest,
    delivery: Delivery,
    sshd: SshServer,
    package_host: PackageHost,
    settings: Settings,
) -> list[Instance]:
    """One instance, whose release is unpacked off the wire; or two of one node, which share an upload."""
    settings.SSH_KEY_FILE = str(sshd.private_key)
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    node = make_node("ssh-1", delivery=delivery, **sshd.node_fields)
    return make_instances(make_service(restart_command=""), node, count=request.param, root=sshd.node_root())


@pytest.fixture
def deploy(fleet: list[Instance], package_host: PackageHost, run_work_loop: Callable[[str], None]) -> Start:
    def run(version: str) -> Operation:
        url = package_host.add(f"{version}.tar.gz", CONTENT[version])
        wanted = DeployRequest(service="user-service", version=version, instances=ids(fleet), package_url=url)
        operation = start_deploy(access=SCHEDULER, request=wanted)
        run_work_loop("deploys")
        operation.refresh_from_db()
        assert operation.status == OperationStatus.COMPLETED, said(operation)
        return operation

    return run


def roll_back(run_work_loop: Callable[[str], None]) -> Operation:
    wanted = BatchRollbackRequest(service="user-service", target_version="v1")
    operation = start_batch_rollback(access=SCHEDULER, request=wanted)
    run_work_loop("rollbacks")
    operation.refresh_from_db()
    return operation


def damage(version: str) -> Artifact:
    """One byte in the middle."""
    artifact = store.stored(sha256(CONTENT[version]))
    assert artifact is not None
    content = bytearray(artifact.path.read_bytes())
    content[len(content) // 2] ^= 0x10
    artifact.path.write_bytes(content)
    assert store.stored(artifact.sha256) == artifact
    return artifact


def lose_release(fleet: list[Instance], version: str) -> None:
    for instance in fleet:
        shutil.rmtree(f"{instance.deploy_root}/releases/{version}")


def said(operation: Operation) -> str:
    lines = LogLine.objects.filter(operation=operation).values_list("text", flat=True)
    return "\n".join([*lines, *operation.targets.values_list("error_message", flat=True)])


def test_a_rollback_from_the_store_heals_the_store(
    fleet: list[Instance], deploy: Start, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    deploy("v1")
    deploy("v2")
    lose_release(fleet, "v1")
    artifact = damage("v1")

    operation = roll_back(run_work_loop)

    assert operation.status == OperationStatus.COMPLETED, said(operation)
    for instance in fleet:
        assert Path(instance.deploy_root, "current", "app.py").read_text() == "print('v1')\n"
    assert "has gone bad in this worker's store" in said(operation)
    assert len(package_host.requests_for("v1.tar.gz")) == 2
    assert sha256(artifact.path.read_bytes()) == artifact.artifact_sha256


def test_when_the_package_cannot_be_had_again_the_bad_copy_is_gone_all_the_same(
    fleet: list[Instance], deploy: Start, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    deploy("v1")
    deploy("v2")
    lose_release(fleet, "v1")
    artifact = damage("v1")
    package_host.behave("v1.tar.gz", Behaviour(status=404))

    operation = roll_back(run_work_loop)

    assert operation.status == OperationStatus.FAILED
    assert set(operation.targets.values_list("error_code", flat=True)) == {"package_unreachable"}
    assert store.stored(artifact.sha256) is None
    assert {os.readlink(f"{instance.deploy_root}/current") for instance in fleet} == {"releases/v2"}
