"""A deploy counts when the process says that it is the new version; the API and the pages tell what it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from deploys.models import Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from inventory.instances.sync import sync_service
from inventory.models import Instance, Service, StatusChange
from rollbacks.services import (
    BatchRollbackRequest,
    InstanceRollbackRequest,
    start_batch_rollback,
    start_instance_rollback,
)
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

# The process, as far as these tests need one: a file that names the version in whose folder it was started.
RESTART = 'cp VERSION "$RELEASE_ROOT/process"'
SAYS = 'cat "$RELEASE_ROOT/process"'


@pytest.fixture
def fleet(package_host: PackageHost, settings: Settings, tmp_path: Path) -> list[Instance]:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service(restart_command=RESTART, version_command=SAYS, version_timeout=1)
    return make_instances(service, make_node(), 2, root=tmp_path)


@pytest.fixture
def deploy(
    fleet: list[Instance], package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> Callable[[str], Operation]:
    def run(version: str) -> Operation:
        url = package_host.add(f"{version}.tar.gz", package({"VERSION": version}))
        request = DeployRequest(service="user-service", version=version, instances=ids(fleet), package_url=url)
        return carried_out(start_deploy(access=SCHEDULER, request=request), run_work_loop)

    return run


def carried_out(operation: Operation, run_work_loop: Callable[[str], None]) -> Operation:
    run_work_loop(f"{operation.kind}s")
    operation.refresh_from_db()
    return operation


def restart_with(command: str) -> None:
    Service.objects.update(restart_command=command)


def answered(path: str) -> dict[str, tuple[Any, ...]]:
    answer = caller("read").get(f"/v1/service/user-service/{path}").json()
    keys = ("version", "expected_version", "process_version", "drift")
    return {each["instance_id"]: tuple(each[key] for key in keys) for each in answer["instances"]}


def test_a_restart_that_leaves_the_old_process_running_is_no_deploy(
    fleet: list[Instance], deploy: Callable[[str], Operation]
) -> None:
    assert deploy("v1").status == "completed"
    restart_with("true")

    operation = deploy("v2")

    assert operation.status == "failed"
    target = operation.targets.filter(instance=fleet[0]).get()
    assert (target.error_code, target.step, target.reverted) == ("version_mismatch", "verify", True)
    assert target.error_message == (
        "The version command did not print 'v2' within 1 s after the restart, but in the end 'v1', on node 'node-1' in "
        f"{fleet[0].deploy_root}. `current` leads to the previous release 'v1' again, which was restarted."
    )
    assert os.readlink(f"{fleet[0].deploy_root}/current") == "releases/v1"
    # After the way back nobody has asked yet.
    assert answered("instances/versions")["instance-1"] == ("v1", "v1", None, None)
    sync_service(fleet[0].service_id)
    assert answered("instances")["instance-1"] == ("v1", "v1", "v1", None)


def test_a_process_of_another_version_is_drift_wherever_drift_is_told(
    fleet: list[Instance], deploy: Callable[[str], Operation], admin_client: Client
) -> None:
    deploy("v1")
    deploy("v2")
    assert answered("instances")["instance-2"] == ("v2", "v2", "v2", None)
    Path(fleet[1].deploy_root, "process").write_text("v1\n")

    sync_service(fleet[0].service_id)

    assert answered("instances/versions")["instance-2"] == ("v2", "v2", "v1", "process")
    rows = StatusChange.objects.filter(instance=fleet[1], field="process").order_by("pk").values_list("old", "new")
    assert list(rows) == [("", "v1"), ("v1", "v2"), ("v2", "v1")]
    page = admin_client.get("/services/user-service?status=drifted").content.decode()
    assert "the process is v1" in page
    assert "/instances/instance-2" in page
    assert '/instances/instance-1"' not in page
    assert "its version command says v1" in admin_client.get("/instances/instance-2").content.decode()
    for wanted, count in (("process", 1), ("yes", 1), ("link", 0)):
        listed = admin_client.get(f"/admin/inventory/instance/?drift={wanted}").context["cl"].queryset
        assert listed.count() == count, wanted
    metrics = caller("read").get("/metrics").content.decode()
    assert 'release_instances_drifted{service="user-service"} 1.0' in metrics


def test_a_rollback_to_what_is_linked_is_for_a_process_of_another_version_alone(
    fleet: list[Instance], deploy: Callable[[str], Operation], run_work_loop: Callable[[str], None]
) -> None:
    deploy("v1")
    Path(fleet[1].deploy_root, "process").write_text("v0")
    sync_service(fleet[0].service_id)

    request = BatchRollbackRequest(service="user-service", target_version="v1")
    batch = carried_out(start_batch_rollback(access=SCHEDULER, request=request), run_work_loop)
    assert [target.instance_id for target in batch.targets.all()] == [fleet[1].pk]
    assert answered("instances")["instance-2"] == ("v1", "v1", "v1", None)

    request = BatchRollbackRequest(service="user-service", target_version="v1", instances=ids(fleet))
    Instance.objects.filter(pk=fleet[0].pk).update(process_version="v0")
    again = carried_out(start_batch_rollback(access=SCHEDULER, request=request), run_work_loop)
    steps = again.targets.order_by("instance__natural_key").values_list("step_seconds", flat=True)
    assert ["verify" in each for each in steps] == [True, False]


def test_a_rollback_that_leaves_another_process_running_goes_back_too(
    fleet: list[Instance], deploy: Callable[[str], Operation], run_work_loop: Callable[[str], None]
) -> None:
    deploy("v1")
    deploy("v2")
    restart_with("true")

    request = InstanceRollbackRequest(instance_id="instance-1")
    target: Target = carried_out(
        start_instance_rollback(access=SCHEDULER, request=request), run_work_loop
    ).targets.get()

    assert (target.error_code, target.reverted) == ("version_mismatch", True)
    assert os.readlink(f"{fleet[0].deploy_root}/current") == "releases/v2"


def test_what_it_says_is_shown_without_its_secrets(fleet: list[Instance], deploy: Callable[[str], Operation]) -> None:
    deploy("v1")
    for before in ("", "0" * 280):  # the address ends behind what is shown
        Service.objects.update(version_command=f"echo {before} https://ann:hunter2@host/?token=abcdef0123456789")

        target = deploy(f"v2.{len(before)}").targets.first()
        sync_service(fleet[0].service_id)

        assert target is not None
        assert target.error_code == "version_mismatch"
        told = json.dumps([target.error_message, *Instance.objects.values_list("process_version", flat=True)])
        assert "https://" in told
        assert "hunter2" not in told
        assert "abcdef0123456789" not in told
