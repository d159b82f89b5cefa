"""A cancel ends every target within its bound, whatever its node does, and says what is true of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from deploys.host.reaper import reap
from deploys.models import Operation
from deploys.operations.cancel import cancel_operation
from deploys.states import Kind, Step, TargetStatus
from deploys.worker import work_loop
from deploys.worker.interruption import DEADLINES, Deadlines
from inventory.models import Instance, RunStatus
from tests.support.fleet import SCHEDULER
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.lone_work_loop import kill, lone_work_loop
from tests.support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]
BOUND_SECONDS = 8
SHORTER = Deadlines(
    grace_seconds=1, bound_seconds=5, recovering_grace_seconds=1, recovering_bound_seconds=5, abort_seconds=2
)
HANG = 'while [ "$RELEASE_VERSION" = {version} ] && [ -e "$RELEASE_ROOT/hang" ]; do sleep 0.1; done\n'


@pytest.fixture
def run_work_loop(run_work_loop: RunWorkLoop) -> RunWorkLoop:
    """The same proportions as in production, where grace, way back and what is left fit into 60 s."""
    assert DEADLINES.bound_seconds <= 55
    assert DEADLINES.grace_seconds + DEADLINES.abort_seconds <= DEADLINES.bound_seconds
    return partial(work_loop.run, deadlines=SHORTER)


def test_a_hanging_restart_is_ended_and_the_old_version_restarted(holds: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = deployed(holds, run_work_loop)
    with deploying(holds, instance, run_work_loop) as operation:
        wait_until(lambda: current(instance) == "releases/v2", what="switch", seconds=30)
        cancel(operation)

    target = operation.targets.get()
    assert (target.status, target.reverted) == (TargetStatus.CANCELLED, True), target.error_message
    assert (target.error_code, target.step) == ("cancelled_in_switch", Step.RESTART)
    assert "was stopped by the cancel" in target.error_message
    assert "leads to the previous release 'v1' again, which was restarted" in target.error_message
    assert current(instance) == "releases/v1"
    check_invariants([instance])


def test_a_hanging_version_command_is_ended_and_the_old_version_restarted(
    holds: Lab, run_work_loop: RunWorkLoop
) -> None:
    instance = deployed(holds, run_work_loop)
    service = instance.service
    service.restart_command, service.version_timeout = "true", 120
    service.version_command = 'touch "$RELEASE_ROOT/asked"; sleep 100'
    service.save()
    operation = holds.deploy("v2", instances=[instance])
    with working(run_work_loop):
        wait_until(Path(instance.deploy_root, "asked").exists, what="version command", seconds=30)
        cancel(operation)

    target = operation.targets.get()
    assert (target.status, target.reverted) == (TargetStatus.CANCELLED, True), target.error_message
    assert (target.error_code, target.step) == ("cancelled_in_switch", Step.VERIFY)
    assert "The version check of 'v2' was stopped by the cancel" in target.error_message
    assert "leads to the previous release 'v1' again, which was restarted" in target.error_message
    instance.refresh_from_db()
    assert (instance.running_version, instance.run_status) == ("v1", RunStatus.RUNNING)


def test_a_cancel_in_the_way_back_says_that_the_restart_had_failed_by_itself(
    holds: Lab, run_work_loop: RunWorkLoop
) -> None:
    instance = deployed(holds, run_work_loop)
    hang_only("v1", instance)
    service = instance.service
    service.restart_command = f'[ "$RELEASE_VERSION" = v1 ] || exit 3\n{service.restart_command}'
    service.save()
    operation = holds.deploy("v2", instances=[instance])
    with working(run_work_loop):
        wait_until(operation.targets.filter(step=Step.REVERT).exists, what="way back", seconds=30)
        cancel(operation)

    target = operation.targets.get()
    assert (target.status, target.error_code, target.step) == ("cancelled", "cancelled_in_switch", Step.RESTART)
    assert "'v2' ended with exit status 3" in target.error_message
    assert "stopped by the cancel" not in target.error_message
    assert "leads to 'v1' again, but its restart ended with" in target.error_message
    instance.refresh_from_db()
    assert (instance.running_version, instance.run_status) == ("v1", RunStatus.UNKNOWN)


def test_a_hanging_before_switch_command_is_ended_on_the_node_too(holds: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = deployed(holds, run_work_loop)
    pid_file = Path(instance.deploy_root, "pid")
    service = instance.service
    service.before_switch_command = f"echo $$ >{pid_file}; exec sleep 100"
    service.command_timeout = 120
    service.save()
    with deploying(holds, instance, run_work_loop) as operation:
        wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", what="command", seconds=30)
        cancel(operation)

    assert operation.targets.get().status == TargetStatus.CANCELLED
    wait_until(lambda: not os.path.exists(f"/proc/{pid_file.read_text().strip()}"), what="command's end", seconds=8)
    check_invariants([instance])


def test_a_node_that_answers_no_more_ends_as_unknown(far_lab: Lab, proxy: TcpProxy, run_work_loop: RunWorkLoop) -> None:
    instance = deployed(far_lab, run_work_loop)
    with deploying(far_lab, instance, run_work_loop) as operation:
        wait_until(lambda: current(instance) == "releases/v2", what="switch", seconds=30)
        proxy.stall()
        cancel(operation)

    target = operation.targets.get()
    instance.refresh_from_db()
    assert (target.status, target.error_code) == (TargetStatus.CANCELLED, "cancelled_in_switch")
    assert "did not say in time what became of the switch" in target.error_message
    assert instance.run_status == RunStatus.UNKNOWN
    Path(instance.deploy_root, "hang").unlink()


def test_a_deploy_that_a_rollback_waits_for_can_still_be_cancelled(holds: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = deployed(holds, run_work_loop)
    with deploying(holds, instance, run_work_loop) as operation:
        wait_until(lambda: current(instance) == "releases/v2", what="switch", seconds=30)
        rollback = holds.roll_back(instance, "v1")
        cancel(operation)
    run_work_loop("rollbacks")

    assert operation.targets.get().status in (TargetStatus.CANCELLED, TargetStatus.SUPERSEDED)
    assert rollback.targets.get().status == TargetStatus.COMPLETED
    check_invariants([instance])


def test_a_dead_workers_switch_is_ended_by_who_takes_over(lab: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = deployed(lab, run_work_loop)
    hang_only("v2", instance)
    operation = lab.deploy("v2", instances=[instance])
    with lone_work_loop("deploys", lab.environment) as worker:
        wait_until(lambda: current(instance) == "releases/v2", what="switch", seconds=60)
        kill(worker)
        take_over_cancelled(operation, run_work_loop)

    target = operation.targets.get()
    assert (target.status, target.reverted) == (TargetStatus.CANCELLED, True), target.error_message
    assert (target.error_code, target.step) == ("cancelled_in_switch", Step.RESTART)
    check_invariants([instance])


def test_a_switch_that_broke_off_on_the_node_too_is_not_called_undone(lab: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = deployed(lab, run_work_loop)
    hang_only("v2", instance)
    operation = lab.deploy("v2", instances=[instance])
    with lone_work_loop("deploys", lab.environment) as worker:
        wait_until(lambda: current(instance) == "releases/v2", what="switch", seconds=60)
        kill(worker, with_its_node_programs=True)
        take_over_cancelled(operation, run_work_loop)

    target = operation.targets.get()
    instance.refresh_from_db()
    assert (target.status, target.error_code, target.step) == ("cancelled", "cancelled_in_switch", Step.SWITCH)
    assert "broken off on the node" in target.error_message
    assert (instance.running_version, instance.run_status) == ("v2", RunStatus.UNKNOWN)
    check_invariants([instance])


def test_a_cancel_before_the_node_was_asked_does_not_say_that_the_old_version_runs(
    holds: Lab, run_work_loop: RunWorkLoop
) -> None:
    instance = deployed(holds, run_work_loop)
    hang_only("v2", instance)
    operation = holds.deploy("v2", instances=[instance])
    with lone_work_loop("deploys", holds.environment) as worker:
        wait_until(lambda: current(instance) == "releases/v2", what="switch", seconds=60)
        kill(worker, with_its_node_programs=True)
    wait_until(lambda: reap() == 1, what="lease that ran out", seconds=30)
    holds.hold("claimed")
    with working(run_work_loop):
        holds.wait_until_held("claimed")
        cancel(operation)

    target = operation.targets.get()
    instance.refresh_from_db()
    assert (target.status, instance.run_status) == (TargetStatus.CANCELLED, RunStatus.UNKNOWN), target.error_message
    assert "the old version runs" not in target.error_message


def take_over_cancelled(operation: Operation, run_work_loop: RunWorkLoop) -> None:
    cancel(operation)
    wait_until(lambda: reap() == 1, what="lease that ran out", seconds=30)
    with working(run_work_loop):
        pass


def deployed(lab: Lab, run_work_loop: RunWorkLoop) -> Instance:
    lab.deploy("v1", instances=lab.instances[:1])
    run_work_loop("deploys")
    return lab.instances[0]


def hang_only(version: str, instance: Instance) -> None:
    service = instance.service
    service.restart_command = HANG.format(version=version) + service.restart_command
    service.save()
    Path(instance.deploy_root, "hang").touch()


@contextmanager
def deploying(lab: Lab, instance: Instance, run_work_loop: RunWorkLoop) -> Iterator[Operation]:
    """v2, whose restart hangs, and no other's; the drive ends within the bound from the block's end on."""
    hang_only("v2", instance)
    operation = lab.deploy("v2", instances=[instance])
    with working(run_work_loop):
        yield operation


@contextmanager
def working(run_work_loop: RunWorkLoop) -> Iterator[None]:
    thread = threading.Thread(target=run_work_loop, args=("deploys",))
    thread.start()
    yield
    thread.join(timeout=2 * BOUND_SECONDS)
    assert not thread.is_alive(), "not ended within the bound"


def cancel(operation: Operation) -> None:
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)


def current(instance: Instance) -> str:
    return os.readlink(f"{instance.deploy_root}/current")
