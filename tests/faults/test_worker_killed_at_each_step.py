"""FAULTS.md, row 1: a worker is killed at each step of a deploy; another one finishes it, with one switch."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from deploys.states import OperationStatus
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import PackageHost
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

STEPS = ("claimed", "fetched", "staged", "before_switch", "permitted", "restart", "switched", "recorded")


@pytest.mark.parametrize("step", STEPS)
def test_its_work_is_finished_by_another(step: str, tmp_path: Path, package_host: PackageHost) -> None:
    lab = Lab.build(tmp_path, package_host)
    (instance,) = lab.instances
    root = Path(instance.deploy_root)
    with running_worker(lab.environment) as worker:
        wait_for_end(lab.deploy("v1"), seconds=30)
        held = root / "hold" if step == "restart" else lab.hold(step)
        held.touch()
        operation = lab.deploy("v2")
        if step == "restart":
            wait_until(lambda: (root / "current").resolve().name == "v2", what="switch", seconds=30)
        else:
            lab.wait_until_held(step)

        for process in worker.cluster("deploys").workers:
            process.send_signal(signal.SIGKILL)
        held.unlink()
        seconds = wait_for_end(operation, seconds=60)

    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
    print(f"killed at {step}: finished {seconds:.1f} s later")
    assert seconds < 30
    check_invariants(lab.instances)
    assert (root / "restarts.txt").read_text().split() == ["v1", "v2"]
    assert (root / "releases.log").read_text().count("\n") == 2
