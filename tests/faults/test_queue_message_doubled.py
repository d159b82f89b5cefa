"""FAULTS.md 14: a message comes many times. The work is claimed once, whoever else is woken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django_q.models import OrmQ

from deploys.queue.announce import enqueue_work
from deploys.queue.names import DEPLOYS
from deploys.states import OperationStatus
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

COPIES = 20


def test_twenty_copies_while_it_is_at_work_make_one_claim_and_one_switch(lab: Lab) -> None:
    instance = lab.instances[0]
    with running_worker(lab.environment):
        lab.hold("staged")
        operation = lab.deploy("v1", instances=[instance])
        lab.wait_until_held("staged")
        enqueue_work(queue=DEPLOYS, operation_id=operation.pk, messages=COPIES)
        wait_until(lambda: not waiting(), what="taking of the copies", seconds=30)
        (lab.faults / "staged.hold").unlink()
        wait_for_end(operation, seconds=30)

    assert operation.status == OperationStatus.COMPLETED
    assert operation.targets.get().claims == 1
    assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1"]
    check_invariants([instance])


def waiting() -> bool:
    """Copies that nobody has carried out yet. The one message in a worker's hands is that of the drive at work."""
    taken = OrmQ.objects.filter(key__startswith=f"{DEPLOYS}@")
    return OrmQ.objects.filter(key=DEPLOYS).exists() or bool(taken.count() > 1)
