"""FAULTS.md 7: a target is given up for proven deaths of workers at work on it, or after so many claims of any end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django_q.models import OrmQ

from deploys.host.reaper import reap
from deploys.models import Lease, Operation, Target
from deploys.operations.transitions import Move, apply_moves
from deploys.queue.names import DEPLOYS
from deploys.states import Kind, Step, StopReason, TargetStatus
from deploys.worker import claim_limits, leases
from deploys.worker.assignment import Assignment
from deploys.worker.batch import StepChange
from deploys.worker.claims import claim, let_go
from deploys.worker.group_commit import _write_steps
from deploys.worker.heartbeat import Heartbeat
from deploys.worker.processes import is_gone, process_named
from inventory.actors import SYSTEM
from inventory.models import RunStatus
from tests.support.database import database_url
from tests.support.lab import Lab, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One on this machine, to hold a lease and to be killed."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def operation(lab: Lab) -> Operation:
    return lab.deploy("v1", instances=lab.instances[:1])


def test_a_target_whose_workers_die_at_work_on_it_is_given_up(operation: Operation) -> None:
    for number in range(1, claim_limits.MAX_DEATHS + 1):
        assert target_of(operation).status != TargetStatus.FAILED, f"given up after {number - 1} deaths"
        begin(claim_one(), Step.SWITCH)
        die_for_real()

    target = target_of(operation)
    assert (target.status, target.error_code) == (TargetStatus.FAILED, "worker_lost")
    assert f"{claim_limits.MAX_DEATHS} workers died while their work on it had begun" in target.error_message
    assert target.instance.run_status == RunStatus.UNKNOWN


def test_a_death_before_its_work_on_the_node_began_is_not_held_against_it(operation: Operation) -> None:
    begin(claim_one(), Step.STAGE)
    die_for_real()
    begin(claim_one(), Step.FETCH)  # with the step that the dead worker was in
    die_for_real()

    assert target_of(operation).deaths == 1


@pytest.mark.parametrize("where", ["alive", "on another machine", "in another container", "of another user", "unknown"])
def test_a_lease_that_could_not_be_renewed_is_no_death(
    operation: Operation, process: subprocess.Popen[bytes], where: str
) -> None:
    place = process_named(process.pid)
    if where != "alive":
        process.kill()
        process.wait()
    elsewhere = {
        "alive": place,
        "on another machine": "x" + place,
        "in another container": place.replace("pid:[", "pid:[9"),
        "of another user": place.replace("]/", "]/9"),
        "unknown": "",
    }
    for _ in range(claim_limits.MAX_DEATHS + 1):
        begin(claim_one(process=elsewhere[where]), Step.STAGE)
        end_leases()
        rested(operation)

    target = target_of(operation)
    assert (target.status, target.deaths) == (TargetStatus.IN_PROGRESS, 0)
    assert "has not renewed its lease since" in operation.log_lines.latest("seq").text


def test_what_a_dead_process_held_is_freed_before_its_lease_has_run_out(
    operation: Operation, process: subprocess.Popen[bytes]
) -> None:
    begin(claim_one(process=process_named(process.pid)), Step.STAGE)
    assert reap() == 0

    process.kill()
    wait_until(lambda: reap() == 1, what="dead process's target", seconds=5)

    process.wait()
    assert Lease.objects.filter(expires_at__gt=Now()).exists()
    line = operation.log_lines.latest("seq").text
    assert f"its process {process.pid} is gone" in line
    assert "work on the node had begun" in line


def test_a_process_is_gone_when_it_is_a_zombie_or_its_number_is_anothers(process: subprocess.Popen[bytes]) -> None:
    name = process_named(process.pid)
    assert not is_gone(name)
    assert is_gone(name + "1")

    process.kill()
    wait_until(lambda: is_gone(name), what="zombie", seconds=5)


def test_after_the_first_claims_it_rests_longer_and_longer_and_not_when_it_is_to_stop(operation: Operation) -> None:
    for _ in range(claim_limits.CLAIMS_AT_ONCE):
        claim_one()
        end_leases()
    claim_one()
    end_leases()
    assert claim_all() == []

    rested(operation, seconds=1.1)
    claim_one()
    end_leases()
    rested(operation, seconds=1.1)
    assert claim_all() == [], "it rests no longer than before"

    operation.targets.update(stop_reason=StopReason.CANCEL)
    claim_one()


def test_it_ends_after_many_claims_whatever_they_ended_for(operation: Operation) -> None:
    operation.targets.update(claims=claim_limits.MAX_CLAIMS - 2)
    rested(operation)
    claim_one()
    end_leases()
    assert target_of(operation).status == TargetStatus.IN_PROGRESS
    rested(operation)

    claim_one()
    end_leases()

    target = target_of(operation)
    assert (target.status, target.error_code) == (TargetStatus.FAILED, "worker_lost")
    assert f"begun {claim_limits.MAX_CLAIMS} times" in target.error_message
    assert "Nothing was switched" in target.error_message


def test_what_a_dead_worker_held_is_announced_in_the_moment_it_is_freed(operation: Operation) -> None:
    claim_one()
    OrmQ.objects.all().delete()

    end_leases()

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


def test_a_target_that_is_only_handed_back_is_never_given_up(operation: Operation) -> None:
    for _ in range(claim_limits.MAX_CLAIMS):
        hand_back(claim_one())
    claim_one()
    end_leases()

    assert target_of(operation).status == TargetStatus.IN_PROGRESS


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


def target_of(operation: Operation) -> Target:
    return operation.targets.select_related("instance").get()


def claim_all(*, process: str = "") -> list[Assignment]:
    lease = Lease.objects.first() or leases.create_lease("web-1", "deploys")
    Lease.objects.filter(pk=lease.pk).update(process=process, expires_at=Now() + leases.LEASE)
    return [each for group in claim(kind=Kind.DEPLOY, lease_id=lease.pk, max_nodes=9) for each in group]


def claim_one(*, process: str = "") -> Assignment:
    (assignment,) = claim_all(process=process)
    return assignment


def begin(assignment: Assignment, step: Step) -> None:
    """As the worker's group commit writes it."""
    change = StepChange(target_id=assignment.target_id, fence=assignment.fence, step=step, seconds={})
    _write_steps([change])


def die_for_real() -> None:
    """The lease's process is one that has been killed."""
    process = subprocess.Popen(["sleep", "600"])
    Lease.objects.update(process=process_named(process.pid))
    process.kill()
    process.wait()
    assert reap() == 1
    Target.objects.update(updated_at=Now() - timedelta(hours=1))


def end_leases() -> None:
    """One target is freed."""
    Lease.objects.update(expires_at=Now() - timedelta(seconds=1))
    # Right after the server's start the reaper holds back.
    wait_until(lambda: reap() == 1, what="lease that is taken for lost", seconds=15)


def rested(operation: Operation, *, seconds: float = 3600) -> None:
    operation.targets.update(updated_at=F("updated_at") - timedelta(seconds=seconds))


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
