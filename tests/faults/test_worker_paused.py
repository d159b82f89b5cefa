"""FAULTS.md 2: a worker is stopped in mid-step for longer than its lease, and comes back when others have gone on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploys.models import Operation
from deploys.operations.cancel import cancel_operation
from deploys.states import Kind, OperationStatus
from inventory.models import Instance
from tests.support.fleet import SCHEDULER
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.worker import WorkerHost, running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]


@pytest.fixture
def instance(lab: Lab) -> Instance:
    return lab.instances[0]


def test_the_node_refuses_its_switch_after_a_newer_operation(
    lab: Lab, instance: Instance, run_work_loop: RunWorkLoop
) -> None:
    with running_worker(lab.environment) as host:
        with paused_before_the_switch(host, lab, instance) as operation:
            wait_until(lambda: has_lost_its_lease(operation), what="lease that ran out", seconds=30)
            run_work_loop("deploys")
            assert ended(operation) == OperationStatus.COMPLETED
            newer = lab.deploy("v3", instances=[instance])
            run_work_loop("deploys")
            assert ended(newer) == OperationStatus.COMPLETED
        wait_until_refused(host)

    assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1", "v2", "v3"]
    check_invariants([instance])


def test_the_node_refuses_its_switch_after_a_cancel(lab: Lab, instance: Instance, run_work_loop: RunWorkLoop) -> None:
    with running_worker(lab.environment) as host:
        with paused_before_the_switch(host, lab, instance) as operation:
            cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
            wait_until(lambda: has_lost_its_lease(operation), what="lease that ran out", seconds=30)
            run_work_loop("deploys")
            assert ended(operation) == OperationStatus.CANCELLED
        wait_until_refused(host)

    assert os.readlink(f"{instance.deploy_root}/current") == "releases/v1"
    assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1"]
    check_invariants([instance])


@contextmanager
def paused_before_the_switch(host: WorkerHost, lab: Lab, instance: Instance) -> Iterator[Operation]:
    """The host's deploy workers are stopped when they have the permission to switch; they go on at the end."""
    wait_for_end(lab.deploy("v1", instances=[instance]), seconds=60)
    held = lab.hold("permitted")
    operation = lab.deploy("v2", instances=[instance])
    lab.wait_until_held("permitted")
    workers = host.cluster("deploys").workers
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    held.unlink()
    yield operation
    for worker in workers:
        worker.send_signal(signal.SIGCONT)


def has_lost_its_lease(operation: Operation) -> bool:
    return operation.targets.get().lease_id is None


def ended(operation: Operation) -> str:
    operation.refresh_from_db()
    return operation.status


def wait_until_refused(host: WorkerHost) -> None:
    wait_until(lambda: "was reassigned to another worker" in host.log.read_text(), what="refusal", seconds=30)
