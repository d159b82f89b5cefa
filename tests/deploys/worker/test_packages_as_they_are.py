"""Packages as real tools make them, deployed: what is on the node is what the package says, and the log says the rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.models import LogLine, Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, TargetStatus
from inventory.models import Instance, Service, ZipNames
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.deploys.packages.archive_kinds import CASES
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def service(package_host: PackageHost, settings: Settings) -> Service:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return make_service(zip_names=ZipNames.GBK)


@pytest.fixture
def instance(service: Service, tmp_path: Path) -> Instance:
    return make_instances(service, make_node("local-1"), root=str(tmp_path / "node"), count=1)[0]


@pytest.fixture
def deploy(
    package_host: PackageHost, instance: Instance, run_work_loop: Callable[[str], None]
) -> Callable[[str, bytes], Operation]:
    def run(version: str, package: bytes) -> Operation:
        url = package_host.add(f"{version}.package", package)
        request = DeployRequest(
            service=instance.service.name, version=version, instances=ids([instance]), package_url=url
        )
        operation = start_deploy(access=SCHEDULER, request=request)
        run_work_loop("deploys")
        operation.refresh_from_db()
        return operation

    return run


def on_node(instance: Instance) -> dict[str, bytes | str]:
    root = Path(instance.deploy_root) / "current"
    found: dict[str, bytes | str] = {}
    for path in root.resolve().rglob("*"):
        name = str(path.relative_to(root.resolve()))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            assert path.stat().st_mode & 0o7022 == 0
            found[name] = path.read_bytes()
    del found[".release.json"]
    return found


def back(instance: Instance, run_work_loop: Callable[[str], None]) -> Target:
    request = InstanceRollbackRequest(instance_id=instance.instance_id)
    operation = start_instance_rollback(access=SCHEDULER, request=request)
    run_work_loop("rollbacks")
    target = operation.targets.get()
    assert target.status == TargetStatus.COMPLETED, target.error_message
    return target


DEPLOYED = [
    "a Debian package's data.tar with case twins",
    "Electron's setuid chrome-sandbox",
    "`find . | tar -T -`",
    "macOS `Icon\\r`",
    "a sparse file, pax 1.0",
    "GBK names, the service says gbk",
    "GBK names with the right ones in 0x7075",
]


def test_they_are_on_the_node_as_they_are(
    deploy: Callable[[str, bytes], Operation],
    instance: Instance,
    tmp_path: Path,
    run_work_loop: Callable[[str], None],
) -> None:
    for number, name in enumerate(DEPLOYED):
        operation = deploy(f"v{number}", CASES[name].package(tmp_path / str(number)))

        targets = list(operation.targets.values("status", "error_message"))
        assert operation.status == OperationStatus.COMPLETED, (name, targets)
        assert on_node(instance) == CASES[name].files
        lines = " ".join(LogLine.objects.filter(operation=operation).values_list("text", flat=True))
        assert CASES[name].says in lines, name
        # Gone back to, it is found intact: all of the manifest is there, whatever its names.
        if number:
            assert back(instance, run_work_loop).source == "node"


def test_a_name_in_an_unknown_encoding_ends_the_deploy_before_any_node_is_asked(
    deploy: Callable[[str, bytes], Operation], instance: Instance, service: Service
) -> None:
    """Though the store has what another service's word made of that package."""
    Service.objects.filter(pk=service.pk).update(zip_names=ZipNames.UTF8)
    operation = deploy("v1", CASES["GBK names, the service says gbk"].package(Path()))

    target = operation.targets.get()
    assert (operation.status, target.error_code) == (OperationStatus.FAILED, "package_invalid")
    assert "the name '\\xb2\\xe2\\xca\\xd4/\\xcb\\xb5\\xc3\\xf7.txt' is not UTF-8" in target.error_message
    assert "set the service's zip_names to gbk" in target.error_message
    assert not Path(instance.deploy_root).exists()
