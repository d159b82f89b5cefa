"""FAULTS.md 7: a target whose worker dies, hangs or loses hold of it every time ends after so many claims."""

from __future__ import annotations

import time
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.db.models.functions import Now
from django_q.models import OrmQ

from deploys.host.reaper import MAX_CLAIMS, reap
from deploys.models import Lease, Target
from deploys.operations.transitions import Move, apply_moves
from deploys.queue.names import DEPLOYS
from deploys.states import Kind, TargetStatus
from deploys.worker import leases
from deploys.worker.assignment import Assignment
from deploys.worker.claims import claim, let_go
from deploys.worker.heartbeat import Heartbeat
from inventory.actors import SYSTEM
from inventory.models import RunStatus
from tests.support.database import database_url
from tests.support.lab import Lab, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_target_that_kills_its_workers_is_given_up(lab: Lab) -> None:
    instance = lab.instances[0]
    operation = lab.deploy("v1", instances=[instance])
    for number in range(1, MAX_CLAIMS + 1):
        assert operation.targets.get().status != TargetStatus.FAILED, f"given up after {number - 1} deaths"
        claim_one()
        die()

    target = operation.targets.get()
    instance.refresh_from_db()
    assert (target.status, target.error_code) == (TargetStatus.FAILED, "worker_lost")
    assert instance.run_status == RunStatus.UNKNOWN


def test_what_a_dead_worker_held_is_announced_in_the_moment_it_is_freed(lab: Lab) -> None:
    lab.deploy("v1", instances=lab.instances[:1])
    claim_one()
    OrmQ.objects.all().delete()

    die()

    assert OrmQ.objects.filter(key=DEPLOYS).count() == settings.WORKERS


def test_a_target_whose_row_is_locked_keeps_no_other_waiting(lab: Lab) -> None:
    lab.deploy("v1")
    locked, other = claim_all()
    with psycopg.connect(database_url()) as somebody:
        somebody.execute("SELECT FROM deploys_target WHERE id = %s FOR UPDATE", [locked.target_id])
        end_leases()
    assert Target.objects.get(lease=None).pk == other.target_id

    assert reap() == 1
    assert not Target.objects.exclude(lease=None).exists()


def test_a_target_that_is_only_handed_back_is_never_given_up(lab: Lab) -> None:
    operation = lab.deploy("v1", instances=lab.instances[:1])
    for _ in range(MAX_CLAIMS):
        hand_back(claim_one())
    claim_one()
    die()

    assert operation.targets.get().status == TargetStatus.IN_PROGRESS


def test_a_drive_that_hangs_renews_its_lease_no_more() -> None:
    lease = leases.create_lease("web-1", "deploys")
    before = lease_end(lease)
    heartbeat = Heartbeat(lease.pk, is_sound=lambda: False)
    heartbeat.start()
    time.sleep(leases.HEARTBEAT_SECONDS + 1)
    heartbeat.stop()

    assert lease_end(lease) == before


def test_what_an_unheard_claim_took_is_let_go(lab: Lab) -> None:
    operation = lab.deploy("v1")
    first, second = claim_all()

    assert let_go(Lease.objects.get().pk, except_targets=[first.target_id]) == 1

    held = operation.targets.exclude(lease=None)
    assert [target.pk for target in held] == [first.target_id]
    assert [each.target_id for each in claim_all()] == [second.target_id]


def claim_all() -> list[Assignment]:
    lease = Lease.objects.first() or leases.create_lease("web-1", "deploys")
    return [each for group in claim(kind=Kind.DEPLOY, lease_id=lease.pk, max_nodes=9) for each in group]


def claim_one() -> Assignment:
    (assignment,) = claim_all()
    return assignment


def die() -> None:
    end_leases()
    Lease.objects.all().delete()


def end_leases() -> None:
    """One target is freed."""
    Lease.objects.update(expires_at=Now() - timedelta(seconds=1))
    # Right after the server's start the reaper holds back.
    wait_until(lambda: reap() == 1, what="lease that is taken for dead", seconds=15)


def hand_back(assignment: Assignment) -> None:
    target = Target.objects.select_related("operation").get(pk=assignment.target_id)
    move = Move(
        target_id=target.pk,
        instance_id=target.instance_id,
        operation_id=target.operation_id,
        operation_name=str(target.operation),
        attempt=target.attempt,
        old=TargetStatus.IN_PROGRESS,
        new=TargetStatus.PENDING,
        actor=SYSTEM,
        fence=assignment.fence,
    )
    assert apply_moves([move]) == {target.pk}


def lease_end(lease: Lease) -> object:
    lease.refresh_from_db()
    return lease.expires_at
