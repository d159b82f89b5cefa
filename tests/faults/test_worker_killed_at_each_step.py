"""FAULTS.md, row 1: a worker is killed at each step of a deploy; another one finishes it, with one switch."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from deploys.models import Target
from deploys.states import OperationStatus
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import PackageHost
from tests.support.worker import WorkerHost, running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

STEPS = ("claimed", "fetched", "staged", "before_switch", "permitted", "restart", "switched", "recorded")


def test_its_work_is_finished_by_another(tmp_path: Path, package_host: PackageHost) -> None:
    """One host for all steps: it puts a new worker into the dead one's place each time."""
    lab = Lab.build(tmp_path, package_host)
    (instance,) = lab.instances
    root = Path(instance.deploy_root)
    with running_worker(lab.environment) as host:
        wait_for_end(lab.deploy("v0"), seconds=30)
        for number, step in enumerate(STEPS, start=1):
            killed_at(step, f"v{number}", lab, host)

    assert (root / "restarts.txt").read_text().split() == [f"v{number}" for number in range(len(STEPS) + 1)]
    assert (root / "releases.log").read_text().count("\n") == len(STEPS) + 1


def killed_at(step: str, version: str, lab: Lab, host: WorkerHost) -> None:
    """Deploys the version, kills the one worker that is at it in that step, and sees it end."""
    root = Path(lab.instances[0].deploy_root)
    held = root / "hold" if step == "restart" else lab.hold(step)
    held.touch()
    operation = lab.deploy(version)
    if step == "restart":
        wait_until(lambda: (root / "current").resolve().name == version, what="switch", seconds=30)
        worker = who_restarts(host)
    else:
        lab.wait_until_held(step)
        worker = psutil.Process(int((lab.faults / f"{step}.reached").read_text()))
    assert worker in host.family()

    worker.kill()
    held.unlink()
    seconds = wait_for_end(operation, seconds=60)

    assert operation.status == OperationStatus.COMPLETED, (step, list(operation.targets.values("error_message")))
    print(f"killed at {step}: finished {seconds:.1f} s later")
    assert seconds < 30, step
    if step != "recorded":
        assert Target.objects.get(operation=operation).claims == 2, f"{step}: nobody took over"
    check_invariants(lab.instances)


def who_restarts(host: WorkerHost) -> psutil.Process:
    """The worker that has started a node program; that one's own forks look like it."""
    programs = {process for process in host.family() if "release-node" in process.cmdline()}
    (worker,) = {program.parent() for program in programs} - programs
    assert worker is not None
    return worker
