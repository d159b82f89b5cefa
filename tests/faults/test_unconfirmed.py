"""A deploy that nobody confirms goes back at its time, whatever was cut, killed or started anew meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploys.models import Operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus
from tests.support.fleet import SCHEDULER, ids
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]
WITHIN = 10


@pytest.fixture
def far(far_lab: Lab, run_work_loop: RunWorkLoop, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """v1 runs on both instances."""
    monkeypatch.setenv("RELEASE_FAULT_DIR", str(far_lab.faults))
    start(far_lab, "v1", run_work_loop)
    return far_lab


def start(lab: Lab, version: str, run_work_loop: RunWorkLoop, *, within: int = 0) -> Operation:
    request = DeployRequest(
        service="user-service",
        version=version,
        instances=ids(lab.instances),
        package_url=lab.add_package(version),
        confirm_within=within,
    )
    operation = start_deploy(access=SCHEDULER, request=request)
    run_work_loop("deploys")
    return operation


def link_time(path: Path) -> float:
    return path.lstat().st_mtime


def serves_since(lab: Lab, version: str) -> list[float]:
    """When each instance's link was made, once all of them lead to this version."""
    links = [Path(instance.deploy_root, "current") for instance in lab.instances]
    lead_there = f"releases/{version}"
    wait_until(lambda: all(os.readlink(link) == lead_there for link in links), what=f"link to {version}", seconds=30)
    return [link_time(link) for link in links]


def look_until_it_ends(operation: Operation, run_work_loop: RunWorkLoop) -> None:
    deadline = time.monotonic() + 60
    while operation.finished_at is None:
        assert time.monotonic() < deadline
        run_work_loop("deploys")
        operation.refresh_from_db()
        time.sleep(0.1)


def programs_that_wait(lab: Lab) -> list[psutil.Process]:
    found = []
    for instance in lab.instances:
        for state in Path(instance.deploy_root, ".release").glob("claim.*/state"):
            owner = [line.split() for line in state.read_text().splitlines() if line.startswith("owner")][-1]
            if owner[1] != "done":
                found.append(psutil.Process(int(owner[1])))
    return found


def check_told(operation: Operation, lab: Lab) -> None:
    assert operation.status == OperationStatus.FAILED
    assert {(each.error_code, each.step, each.reverted) for each in operation.targets.all()} == {
        ("not_confirmed", "confirm", True)
    }
    check_invariants(lab.instances)
    assert {instance.running_version for instance in lab.instances} == {"v1"}


def test_with_the_cable_cut_the_old_version_serves_in_time_and_truth_is_told_later(
    far: Lab, proxy: TcpProxy, run_work_loop: RunWorkLoop
) -> None:
    operation = start(far, "v2", run_work_loop, within=WITHIN)
    serves_since(far, "v2")
    due = [target.confirm_by.timestamp() for target in operation.targets.order_by("pk") if target.confirm_by]
    proxy.cut_after(0)
    proxy.cut()

    late_by = [back - by for back, by in zip(serves_since(far, "v1"), due, strict=True)]
    assert all(-1 <= seconds <= 1 for seconds in late_by), late_by

    run_work_loop("deploys")
    operation.refresh_from_db()
    assert operation.finished_at is None
    proxy.cut_after(None)
    look_until_it_ends(operation, run_work_loop)
    check_told(operation, far)


@pytest.mark.parametrize("is_rebooted", [False, True])
def test_with_its_program_killed_the_next_contact_goes_back(
    far: Lab, run_work_loop: RunWorkLoop, is_rebooted: bool
) -> None:
    """In a node that was started anew nobody knows the time: its record is of another boot."""
    operation = start(far, "v2", run_work_loop, within=2)
    for program in programs_that_wait(far):
        program.kill()
    if is_rebooted:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for instance in far.instances:
            for state in Path(instance.deploy_root, ".release").glob("claim.*/state"):
                state.write_text(state.read_text().replace(boot, "00000000-0000-4000-8000-000000000000"))
    look_until_it_ends(operation, run_work_loop)
    check_told(operation, far)
