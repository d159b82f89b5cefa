"""The one window that nothing closes: the node program dies between a restart's end and the note that says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploys.host.reaper import reap
from deploys.states import OperationStatus
from inventory.models import Instance
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.lone_work_loop import kill, lone_work_loop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def test_the_restart_runs_once_more_and_the_deploy_ends_well(lab: Lab, run_work_loop: Callable[[str], None]) -> None:
    instance = lab.instances[0]
    lab.deploy("v1", instances=[instance])
    run_work_loop("deploys")
    restart_held = Path(instance.deploy_root, "hold")
    restart_held.touch()
    operation = lab.deploy("v2", instances=[instance])
    with lone_work_loop("deploys", lab.environment) as worker:
        wait_until(lambda: os.readlink(f"{instance.deploy_root}/current") == "releases/v2", what="switch", seconds=30)
        wait_until(lambda: command_of(instance) is not None, what="restart command", seconds=30)
        program, command = program_of(instance), command_of(instance)
        program.suspend()  # the restart command goes on; nobody notes its end
        restart_held.unlink()
        wait_until(lambda: restarts(instance) == ["v1", "v2"], what="restart", seconds=10)
        wait_until(lambda: has_ended(command), what="restart command's end", seconds=10)
        kill(worker, with_its_node_programs=True)

    wait_until(lambda: reap() == 1, what="lease that ran out", seconds=30)
    run_work_loop("deploys")

    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED, operation.targets.get().error_message
    assert restarts(instance) == ["v1", "v2", "v2"]
    check_invariants([instance])


def program_of(instance: Instance) -> psutil.Process:
    return psutil.Process(int(newest_fact(instance, "owner")))


def command_of(instance: Instance) -> psutil.Process | None:
    number = newest_fact(instance, "command")
    return psutil.Process(int(number)) if number.isdecimal() else None


def newest_fact(instance: Instance, kind: str) -> str:
    """The first word behind it in the newest claim's record (deploys/node/program.sh); '' when there is none."""
    claims = Path(instance.deploy_root, ".release").glob("claim.*")
    newest = max(claims, key=lambda claim: int(claim.suffix[1:]))
    facts = [line.split() for line in (newest / "state").read_text().splitlines()]
    return next((fact[1] for fact in reversed(facts) if fact[0] == kind), "")


def has_ended(command: psutil.Process | None) -> bool:
    """Its parent is stopped, so that a zombie is all that is left of it."""
    assert command is not None
    return not command.is_running() or command.status() == psutil.STATUS_ZOMBIE


def restarts(instance: Instance) -> list[str]:
    return Path(instance.deploy_root, "restarts.txt").read_text().split()
