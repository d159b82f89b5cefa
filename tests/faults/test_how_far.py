"""Deploys that only check or only stage: their workers killed, cancelled, superseded, at each of their steps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.host.reaper import reap
from deploys.models import Target
from deploys.operations.cancel import cancel_operation
from deploys.states import Kind, OperationStatus, TargetStatus, Until
from inventory.models import Instance
from tests.support.fleet import SCHEDULER
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.lone_work_loop import kill, lone_work_loop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]
STEPS = {Until.CHECKED: ("fetched", "check"), Until.STAGED: ("claimed", "fetched", "staged")}
LAST_STEP = {Until.CHECKED: "check", Until.STAGED: "stage"}
UNTIL_AND_STEP = [(until, step) for until, steps in STEPS.items() for step in steps]


@pytest.fixture
def instance(lab: Lab, run_work_loop: RunWorkLoop) -> Instance:
    """It runs v0."""
    instance = lab.instances[0]
    lab.deploy("v0", instances=[instance])
    run_work_loop("deploys")
    return instance


def killed_at(lab: Lab, run_work_loop: RunWorkLoop, *steps: str, count: int = 1) -> None:
    """The worker that stands in these steps, with so many targets, dies; a loop of this process goes on with them."""
    held = [lab.hold(step) for step in steps]
    with lone_work_loop("deploys", lab.environment) as worker:
        for step in steps:
            lab.wait_until_held(step)
        wait_until(lambda: Target.objects.exclude(lease=None).count() == count, what="claim of all", seconds=20)
        kill(worker)
    for step, hold in zip(steps, held, strict=True):
        hold.unlink()
        (lab.faults / f"{step}.reached").unlink()
    wait_until(lambda: reap() == count, what="target of a dead worker", seconds=30)
    run_work_loop("deploys")


def runs(instance: Instance) -> tuple[str, str, str, list[str], str]:
    instance.refresh_from_db()
    link = os.readlink(f"{instance.deploy_root}/current")
    history = instance.release_history
    return instance.running_version, instance.expected_version, instance.run_status, history, link


def test_what_a_dead_worker_had_begun_is_ended_by_another_and_nothing_is_switched(
    lab: Lab, instance: Instance, run_work_loop: RunWorkLoop
) -> None:
    """Two instances, so that each death is one of a check and one of a staging."""
    lab.deploy("v0", instances=lab.instances[1:])
    run_work_loop("deploys")
    before = [runs(each) for each in lab.instances]
    for number, steps in enumerate((("claimed",), ("fetched",), ("check", "staged")), start=1):
        started = {
            until: lab.deploy(f"v{number}-{until}", instances=[each], until=until)
            for each, until in zip(lab.instances, LAST_STEP, strict=True)
        }
        killed_at(lab, run_work_loop, *steps, count=2)

        for until, operation in started.items():
            target = operation.targets.get()
            assert (target.status, target.step, target.claims) == ("completed", LAST_STEP[until], 2), (until, steps)
            is_there = Path(target.instance.deploy_root, "releases", f"v{number}-{until}").exists()
            assert is_there == (until == Until.STAGED), (until, steps)
        assert [runs(each) for each in lab.instances] == before, steps
    check_invariants(lab.instances)


def test_a_worker_that_dies_while_it_deploys_what_is_staged_costs_no_download(
    lab: Lab, instance: Instance, run_work_loop: RunWorkLoop, settings: Settings
) -> None:
    for number, step in enumerate(("permitted", "switched"), start=1):
        lab.deploy(f"v{number}", instances=[instance], until=Until.STAGED)
        run_work_loop("deploys")
        operation = lab.deploy(f"v{number}", instances=[instance])
        asked = len(lab.package_host.requests)
        killed_at(lab, run_work_loop, step)

        operation.refresh_from_db()
        assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
        assert len(lab.package_host.requests) == asked
        assert runs(instance)[0] == f"v{number}"
    assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v0", "v1", "v2"]
    check_invariants([instance])


@contextmanager
def held_at(step: str, lab: Lab, run_work_loop: RunWorkLoop) -> Iterator[None]:
    """A work loop of this process stands there in the block, and has ended behind it."""
    held = lab.hold(step)
    thread = threading.Thread(target=run_work_loop, args=("deploys",))
    thread.start()
    lab.wait_until_held(step)
    yield
    thread.join(timeout=10)
    is_held_still = thread.is_alive()
    held.unlink()
    thread.join()
    assert not is_held_still
    (lab.faults / f"{step}.reached").unlink()


def test_a_cancel_ends_it_at_once_in_each_step(holds: Lab, instance: Instance, run_work_loop: RunWorkLoop) -> None:
    before = runs(instance)
    for number, (until, step) in enumerate(UNTIL_AND_STEP, start=1):
        operation = holds.deploy(f"v{number}", instances=[instance], until=until)
        with held_at(step, holds, run_work_loop):
            cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)

        target = operation.targets.get()
        assert (target.status, target.error_code) == (TargetStatus.CANCELLED, ""), (until, step)
        assert "nothing was switched" in target.error_message
        assert runs(instance) == before, (until, step)
    check_invariants([instance])


def test_a_rollback_supersedes_it(holds: Lab, instance: Instance, run_work_loop: RunWorkLoop) -> None:
    holds.deploy("v1", instances=[instance])
    run_work_loop("deploys")
    operation = holds.deploy("v2", instances=[instance], until=Until.STAGED)
    with held_at("fetched", holds, run_work_loop):
        rollback = holds.roll_back(instance)
    run_work_loop("rollbacks")

    assert operation.targets.get().status == TargetStatus.SUPERSEDED
    rollback.refresh_from_db()
    assert (rollback.version, rollback.status) == ("v0", OperationStatus.COMPLETED)
    assert runs(instance)[0] == "v0"
    check_invariants([instance])
