"""A worker dies in a switch, and the worker that takes over dies too: the third one still knows what is true."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from deploys.host.reaper import reap
from deploys.models import Operation
from deploys.states import OperationStatus
from inventory.models import Instance
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.lone_work_loop import kill, lone_work_loop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]


@pytest.fixture
def instance(lab: Lab, run_work_loop: RunWorkLoop) -> Instance:
    """v1 runs on it; the restart of what comes next is held."""
    instance = lab.instances[0]
    lab.deploy("v1", instances=[instance])
    run_work_loop("deploys")
    restart_held(instance).touch()
    return instance


def test_the_second_dies_while_it_waits_for_the_firsts_switch(
    lab: Lab, instance: Instance, run_work_loop: RunWorkLoop
) -> None:
    operation = lab.deploy("v2", instances=[instance])
    with switching(lab, instance) as first:
        kill(first)  # what it runs on the node goes on
    take_over_and_die(lab, operation, when=lambda: "Asking the node" in log_of(operation))
    restart_held(instance).unlink()

    end_with_a_third(operation, run_work_loop)
    assert restarts(instance) == ["v1", "v2"]
    check_invariants([instance])
    assert "Node 'node-1' says that the switch to 'v2' was finished. Nothing is run again." in log_of(operation)


def test_the_second_dies_in_a_switch_of_its_own(lab: Lab, instance: Instance, run_work_loop: RunWorkLoop) -> None:
    operation = lab.deploy("v2", instances=[instance])
    with switching(lab, instance) as first:
        kill(first, with_its_node_programs=True)
    take_over_and_die(
        lab,
        operation,
        # Lines gather for a moment before they are stored.
        when=lambda: len(switches_begun(instance, "v2")) == 2 and "it is done again" in log_of(operation),
    )
    restart_held(instance).unlink()

    end_with_a_third(operation, run_work_loop)
    assert restarts(instance) == ["v1", "v2"]
    check_invariants([instance])
    log = log_of(operation)
    assert log.count("has died: its process") == 2
    assert log.count("Asking the node 'node-1' what became of its switch") == 2
    assert "broke off in its middle (switched): it is done again, and the restart command runs again" in log
    assert log.count("Node 'node-1' says that") == 2


@contextmanager
def switching(lab: Lab, instance: Instance) -> Iterator[psutil.Popen]:
    with lone_work_loop("deploys", lab.environment) as worker:
        wait_until(lambda: os.readlink(f"{instance.deploy_root}/current") == "releases/v2", what="switch", seconds=30)
        yield worker


def take_over_and_die(lab: Lab, operation: Operation, *, when: Callable[[], bool]) -> None:
    wait_until(lambda: reap() == 1, what="lease that ran out", seconds=30)
    with lone_work_loop("deploys", lab.environment) as worker:
        wait_until(when, what="second worker's turn", seconds=30)
        kill(worker)


def end_with_a_third(operation: Operation, run_work_loop: RunWorkLoop) -> None:
    wait_until(lambda: reap() == 1, what="second lease that ran out", seconds=30)
    run_work_loop("deploys")
    operation.refresh_from_db()
    target = operation.targets.get()
    assert (operation.status, target.claims) == (OperationStatus.COMPLETED, 3), target.error_message


def switches_begun(instance: Instance, version: str) -> set[str]:
    """The claims that have begun to switch to it, by the node's own records (deploys/node/program.sh)."""
    states = Path(instance.deploy_root, ".release").glob("*/state")
    facts = [line.split() for state in states for line in state.read_text().splitlines()]
    return {fact[1] for fact in facts if fact[0] == "switch" and fact[2] == version}


def restart_held(instance: Instance) -> Path:
    return Path(instance.deploy_root, "hold")


def restarts(instance: Instance) -> list[str]:
    return Path(instance.deploy_root, "restarts.txt").read_text().split()


def log_of(operation: Operation) -> str:
    return "\n".join(operation.log_lines.values_list("text", flat=True))
