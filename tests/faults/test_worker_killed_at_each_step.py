"""FAULTS.md, row 1: a worker is killed at each step of a deploy; another one finishes it, with one switch."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from deploys.models import Operation, Target
from deploys.states import OperationStatus, TargetStatus
from inventory.models import Instance, Service
from tests.support.foreign_trees import linked_build
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import PackageHost
from tests.support.worker import WorkerHost, running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

STEPS = (
    "claimed",
    "fetched",
    "delta",
    "staged",
    "before_switch",
    "permitted",
    "restart",
    "verify",
    "switched",
    "recorded",
)
# These are held on the node itself, by a file in the deploy root.
ON_NODE = {"restart": "hold", "verify": "hold-verify"}
VERIFY = 'while [ -e "$RELEASE_ROOT/hold-verify" ]; do sleep 0.05; done; echo "$RELEASE_VERSION"'


def test_its_work_is_finished_by_another(tmp_path: Path, package_host: PackageHost) -> None:
    """One host for all steps: it puts a new worker into the dead one's place each time."""
    lab = Lab.build(tmp_path, package_host)
    (instance,) = lab.instances
    Service.objects.update(version_command=VERIFY)
    root = Path(instance.deploy_root)
    with running_worker(lab.environment) as host:
        wait_for_end(lab.deploy("v0"), seconds=30)
        for number, step in enumerate(STEPS, start=1):
            killed_at(step, f"v{number}", lab, host)

    assert (root / "restarts.txt").read_text().split() == [f"v{number}" for number in range(len(STEPS) + 1)]
    assert (root / "releases.log").read_text().count("\n") == len(STEPS) + 1


def test_what_another_tool_deployed_elsewhere_is_gone_back_to(tmp_path: Path, package_host: PackageHost) -> None:
    """A first deploy that fails, its worker killed: `current` leads to the other tool's build again."""
    steps = ("permitted", "restart", "switched")
    lab = Lab.build(tmp_path, package_host, count=len(steps))
    with running_worker(lab.environment) as host:
        for step, instance in zip(steps, lab.instances, strict=True):
            build = str(linked_build(Path(instance.deploy_root), tmp_path / "builds" / step))
            operation, _seconds = ended_after_a_kill(step, "bad", lab, host, instance=instance, broken=True)
            target = operation.targets.get()
            assert (target.status, target.error_code) == (TargetStatus.FAILED, "command_failed"), step
            assert target.reverted is True, step
            assert os.readlink(f"{instance.deploy_root}/current") == build, step
            instance.refresh_from_db()
            assert (instance.running_version, instance.found_current) == ("", build), step


def killed_at(step: str, version: str, lab: Lab, host: WorkerHost) -> None:
    """Deploys the version, kills the one worker that is at it in that step, and sees it end."""
    operation, seconds = ended_after_a_kill(step, version, lab, host, instance=lab.instances[0])

    assert operation.status == OperationStatus.COMPLETED, (step, list(operation.targets.values("error_message")))
    print(f"killed at {step}: finished {seconds:.1f} s later")
    assert seconds < 30, step
    if step != "recorded":
        assert Target.objects.get(operation=operation).claims == 2, f"{step}: nobody took over"
    check_invariants(lab.instances)


def ended_after_a_kill(
    step: str, version: str, lab: Lab, host: WorkerHost, *, instance: Instance, broken: bool = False
) -> tuple[Operation, float]:
    """The operation, and how many seconds after the kill it ended."""
    root = Path(instance.deploy_root)
    held = root / ON_NODE[step] if step in ON_NODE else lab.hold(step)
    held.touch()
    operation = lab.deploy(version, instances=[instance], broken=broken)
    if step in ON_NODE:
        wait_until(operation.targets.filter(step=step).exists, what=step, seconds=30)
        worker = who_restarts(host)
    else:
        lab.wait_until_held(step)
        worker = psutil.Process(int((lab.faults / f"{step}.reached").read_text()))
    assert worker in host.family()

    worker.kill()
    held.unlink()
    return operation, wait_for_end(operation, seconds=60)


def who_restarts(host: WorkerHost) -> psutil.Process:
    """The worker that has started a node program; that one's own forks look like it."""
    programs = {process for process in host.family() if "release-node" in process.cmdline()}
    (worker,) = {program.parent() for program in programs} - programs
    assert worker is not None
    return worker
