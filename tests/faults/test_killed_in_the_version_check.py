"""A worker dies while the new version is asked for, with the node's program or without: the old one comes back, and is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploys.host.reaper import reap
from deploys.states import Step
from inventory.models import RunStatus, Service
from tests.faults.test_restart_runs_once_more import restarts
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.lone_work_loop import kill, lone_work_loop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("with_its_node_programs", "restarted"),
    [(False, ["v1", "v2", "v1"]), (True, ["v1", "v2", "v2", "v1"])],
    ids=["worker", "worker and node program"],
)
def test_the_old_version_comes_back(
    lab: Lab, run_work_loop: Callable[[str], None], with_its_node_programs: bool, restarted: list[str]
) -> None:
    """Without its program the switch broke off on the node: it is done anew, and found out then."""
    instance = lab.instances[0]
    lab.deploy("v1", instances=[instance])
    run_work_loop("deploys")
    Service.objects.update(version_command='touch "$RELEASE_ROOT/asked"; echo v1', version_timeout=3)
    operation = lab.deploy("v2", instances=[instance])
    with lone_work_loop("deploys", lab.environment) as worker:
        wait_until(Path(instance.deploy_root, "asked").exists, what="version command", seconds=30)
        kill(worker, with_its_node_programs=with_its_node_programs)

    wait_until(lambda: reap() == 1, what="lease that ran out", seconds=30)
    run_work_loop("deploys")

    target = operation.targets.get()
    assert (target.error_code, target.step, target.reverted) == ("version_mismatch", Step.VERIFY, True)
    assert "but in the end 'v1'" in target.error_message
    assert restarts(instance) == restarted
    assert os.readlink(f"{instance.deploy_root}/current") == "releases/v1"
    check_invariants([instance])
    assert (instance.running_version, instance.run_status, instance.process_version) == ("v1", RunStatus.RUNNING, "")
