"""`sed -i` before the switch, `chmod -R` in a restart: deployed, rolled back, and told in the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.models import LogLine, Operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus
from inventory.models import Instance, Service
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def service(package_host: PackageHost, settings: Settings) -> Service:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return make_service()


@pytest.fixture
def instance(service: Service, tmp_path: Path) -> Instance:
    return make_instances(service, make_node("local-1"), root=str(tmp_path / "node"), count=1)[0]


@pytest.fixture
def deploy(
    package_host: PackageHost, instance: Instance, run_work_loop: Callable[[str], None]
) -> Callable[[str], Operation]:
    def run(version: str) -> Operation:
        url = package_host.add(f"{version}.tar.gz", package({"app.ini": "port=PORT\n", "bin/run": f"#{version}\n"}))
        request = DeployRequest(
            service=instance.service.name, version=version, instances=ids([instance]), package_url=url
        )
        operation = start_deploy(access=SCHEDULER, request=request)
        run_work_loop("deploys")
        operation.refresh_from_db()
        return operation

    return run


def back(instance: Instance, run_work_loop: Callable[[str], None]) -> Operation:
    operation = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id=instance.instance_id)
    )
    run_work_loop("rollbacks")
    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
    return operation


def log_of(operation: Operation) -> str:
    lines = LogLine.objects.filter(operation=operation, stream="system").order_by("seq")
    return "\n".join(lines.values_list("text", flat=True))


def test_a_file_edited_before_the_switch_is_deployed_and_gone_back_to(
    deploy: Callable[[str], Operation], service: Service, instance: Instance, run_work_loop: Callable[[str], None]
) -> None:
    Service.objects.filter(pk=service.pk).update(before_switch_command='sed -i "s/PORT/$RELEASE_PORT/" app.ini')

    for version in ("v1", "v2"):
        operation = deploy(version)
        assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
        assert "The before-switch command has changed files of the release, 'app.ini' among them" in log_of(operation)
        assert (Path(instance.deploy_root) / "current/app.ini").read_text() == f"port={instance.port}\n"
    rollback = back(instance, run_work_loop)

    assert rollback.targets.get().source == "node"
    assert "can't be taken" not in log_of(rollback)
    assert (Path(instance.deploy_root) / "current/app.ini").read_text() == f"port={instance.port}\n"


def test_files_that_a_restart_changed_are_named_when_their_release_is_staged_anew(
    deploy: Callable[[str], Operation], service: Service, instance: Instance, run_work_loop: Callable[[str], None]
) -> None:
    Service.objects.filter(pk=service.pk).update(restart_command="chmod -R g+w .")
    deploy("v1")
    deploy("v2")

    rollback = back(instance, run_work_loop)
    assert rollback.targets.get().source == "store"
    assert f"Release 'v1' can't be taken from the node: {instance.deploy_root}/releases/v1/" in log_of(rollback)
    # The one that runs, too: nothing is made of it.
    assert log_of(rollback).count("can't be taken") == log_of(rollback).count("can't be built upon") == 1
    assert log_of(rollback).count("was changed or removed") == 2

    again = deploy("v2")
    assert f"Release 'v2' was on the node, but could not be taken: {instance.deploy_root}/releases/v2/" in log_of(again)
