"""FAULTS.md 5, 6: a worker host is stopped, or killed with all its processes, in the middle of a deploy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploys.host.reaper import reap
from deploys.models import Operation
from deploys.states import OperationStatus, TargetStatus
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.lone_work_loop import kill, lone_work_loop
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]


def test_a_stop_lets_a_switch_finish_and_hands_back_the_rest(lab: Lab, run_work_loop: RunWorkLoop) -> None:
    switching, staged = lab.instances
    restart_held = Path(switching.deploy_root, "hold")
    restart_held.parent.mkdir(parents=True)
    restart_held.touch()
    with running_worker(lab.environment) as host:
        first = lab.deploy("v1", instances=[switching])
        wait_until(lambda: os.path.islink(f"{switching.deploy_root}/current"), what="switch", seconds=60)
        lab.hold("staged")
        second = lab.deploy("v1", instances=[staged])
        lab.wait_until_held("staged")

        began = time.monotonic()
        host.process.terminate()
        wait_until(lambda: status(second) == TargetStatus.PENDING, what="hand-back", seconds=15)
        assert status(first) == TargetStatus.IN_PROGRESS
        restart_held.unlink()
        assert host.process.wait(timeout=30) == 0
        assert time.monotonic() - began < 30
        assert host.family() == set()

    assert (status(first), status(second)) == (TargetStatus.COMPLETED, TargetStatus.PENDING)
    assert second.targets.get().claims == 0, "a stop is not held against the target"
    run_work_loop("deploys")
    check_invariants(lab.instances)
    assert Path(switching.deploy_root, "restarts.txt").read_text().split() == ["v1"]


def test_a_killed_drives_work_goes_on_where_another_starts(lab: Lab, run_work_loop: RunWorkLoop) -> None:
    switching, _ = lab.instances
    restart_held = Path(switching.deploy_root, "hold")
    restart_held.parent.mkdir(parents=True)
    restart_held.touch()
    operation = lab.deploy("v1")
    with lone_work_loop("deploys", lab.environment) as worker:
        wait_until(lambda: os.path.islink(f"{switching.deploy_root}/current"), what="switch", seconds=60)
        kill(worker)  # what it runs on the node goes on
        restart_held.unlink()
        wait_until(lambda: reap() > 0, what="lease that ran out", seconds=30)

        run_work_loop("deploys")

    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED
    check_invariants(lab.instances)
    assert Path(switching.deploy_root, "restarts.txt").read_text().split() == ["v1"]


def status(operation: Operation) -> str:
    return operation.targets.get().status
