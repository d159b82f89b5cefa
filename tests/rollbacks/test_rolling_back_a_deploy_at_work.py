"""A deploy is held at each of its steps in turn; a rollback is posted; the instance ends on the rollback's version."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.models import Operation
from deploys.operations.cancel import cancel_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, TargetStatus
from inventory.models import Instance, StatusChange
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

RESTART = """
[ ! -e "$RELEASE_ROOT/hold" ] || [ "$RELEASE_VERSION" != v2 ] || {
    : >"$RELEASE_ROOT/held"; while [ -e "$RELEASE_ROOT/hold" ]; do sleep 0.05; done; }
mkdir "$RELEASE_ROOT/restarting" || echo overlap >>"$RELEASE_ROOT/overlaps"
echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"
rmdir "$RELEASE_ROOT/restarting"
"""

# step at which the deploy is held → whether it had switched (its restart ran) before it was superseded
STEPS = {
    "claimed": False,
    "fetched": False,
    "staged": False,
    "before_switch": False,
    "permitted": True,
    "restart": True,
    "switched": True,
}


@pytest.fixture
def instance(tmp_path: Path, package_host: PackageHost, settings: Settings) -> Instance:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service(restart_command=RESTART, before_switch_command="true", command_timeout=30)
    return make_instances(service, make_node(), 1, root=tmp_path / "srv")[0]


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("RELEASE_FAULT_DIR", str(folder))
    yield folder
    for held in folder.glob("*.hold"):
        held.unlink()


def deploy(version: str, package_host: PackageHost) -> Operation:
    url = package_host.add(f"{version}.tar.gz", package({"app.py": f"print('{version}')\n"}))
    return start_deploy(
        access=SCHEDULER,
        request=DeployRequest(
            service="user-service", version=version, instances=("instance-1",), package_url=url, deploy_id=version
        ),
    )


def wait_for(path: Path, *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


@pytest.mark.parametrize("step", STEPS)
def test_the_instance_ends_on_the_rollbacks_version_whatever_the_moment(
    step: str, instance: Instance, faults: Path, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    root = Path(instance.deploy_root)
    deploy("v1", package_host)
    run_work_loop("deploys")
    hold = root / "hold" if step == "restart" else faults / f"{step}.hold"
    hold.touch()

    operation = deploy("v2", package_host)
    working = threading.Thread(target=run_work_loop, args=("deploys",))
    working.start()
    wait_for(root / "held" if step == "restart" else faults / f"{step}.reached")
    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1", target_version="v1")
    )
    run_work_loop("rollbacks")  # must not touch an instance that the deploy still works on
    if STEPS[step]:
        assert rollback.targets.get().status == TargetStatus.PENDING
    hold.unlink()
    working.join(timeout=40)
    assert not working.is_alive()
    run_work_loop("rollbacks")

    target = operation.targets.get()
    instance.refresh_from_db()
    assert target.status == TargetStatus.SUPERSEDED
    assert rollback.targets.get().status == TargetStatus.COMPLETED
    assert instance.running_version == "v1"
    assert os.readlink(root / "current") == "releases/v1"
    restarts = (root / "restarts").read_text().split()
    assert restarts == (["v1", "v2", "v1"] if STEPS[step] else ["v1", "v1"])
    assert not (root / "overlaps").exists()
    versions = StatusChange.objects.filter(field="version").order_by("id").values_list("old", "new")
    assert list(versions) == ([("", "v1"), ("v1", "v2"), ("v2", "v1")] if STEPS[step] else [("", "v1")])


@pytest.mark.parametrize("step", ["restart", "switched"])
def test_a_deploy_that_switched_is_completed_when_the_rollback_that_waited_was_cancelled(
    step: str, instance: Instance, faults: Path, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    root = Path(instance.deploy_root)
    deploy("v1", package_host)
    run_work_loop("deploys")
    hold = root / "hold" if step == "restart" else faults / f"{step}.hold"
    hold.touch()
    operation = deploy("v2", package_host)
    working = threading.Thread(target=run_work_loop, args=("deploys",))
    working.start()
    wait_for(root / "held" if step == "restart" else faults / f"{step}.reached")
    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1", target_version="v1")
    )
    # Time for the worker to hear of it, which then is not to say how the deploy ends.
    time.sleep(1.5)

    cancel_operation(access=SCHEDULER, kind=Kind.ROLLBACK, public_id=rollback.public_id)
    hold.unlink()
    working.join(timeout=40)

    operation.refresh_from_db()
    assert (operation.status, operation.targets.get().status) == ("completed", TargetStatus.COMPLETED)
    instance.refresh_from_db()
    assert (instance.running_version, os.readlink(root / "current")) == ("v2", "releases/v2")
