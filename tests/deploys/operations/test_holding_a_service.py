"""A held service takes no deploys: what has not begun ends, nothing comes in, whatever happens at the same time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from deploys.models import Hold, Operation, Target
from deploys.operations.hold import end_expired_holds, hold_service, release_service
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.queue.names import DEPLOYS
from deploys.states import Kind, OperationStatus, TargetStatus
from deploys.worker.claims import claim
from deploys.worker.leases import create_lease
from inventory.actors import SYSTEM
from inventory.errors import Conflict
from inventory.models import AuditEntry, Instance
from rollbacks.services import (
    BatchRollbackRequest,
    start_batch_rollback,
)
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

REASON = "Payments time out; look first."
URL = "http://packages.example.com/v2.tar.gz"


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    return make_instances(make_service(), make_node())


def deploy(*instances: Instance, **changes: object) -> Operation:
    values = {"service": "user-service", "version": "v2", "instances": ids(instances), "package_url": URL, **changes}
    return start_deploy(access=SCHEDULER, request=DeployRequest(**values))  # type: ignore[arg-type]


def hold(reason: str = REASON, **until: object) -> Hold:
    return hold_service(access=SCHEDULER, service_name="user-service", reason=reason, **until)  # type: ignore[arg-type]


def release() -> None:
    release_service(access=SCHEDULER, service_name="user-service")


def statuses(operation: Operation) -> list[str]:
    return list(operation.targets.filter(is_latest=True).order_by("pk").values_list("status", flat=True))


def refused(start: Callable[[], object]) -> Conflict:
    with pytest.raises(Conflict) as refusal:
        start()
    return refusal.value


def claim_one() -> MovableTarget:
    """The first target of the oldest deploy, as a work loop takes it."""
    claimed = claim(kind=Kind.DEPLOY, lease_id=create_lease("worker-1", DEPLOYS).pk, max_nodes=1)
    return claimed[0][0].as_claimed


def test_a_deploy_is_refused_with_who_holds_the_service_why_and_since_when(fleet: list[Instance]) -> None:
    held = hold()

    refusal = refused(lambda: deploy(*fleet))

    assert refusal.code == "service_held"
    for said in (held.held_by, REASON, held.held_at.strftime("%Y-%m-%dT%H:%M:%SZ")):
        assert said in str(refusal)
    assert not Operation.objects.exists()


def test_one_refusal_names_the_hold_and_what_else_is_in_the_way(fleet: list[Instance]) -> None:
    first = deploy(fleet[0])
    claim_one()
    hold()

    refusal = refused(lambda: deploy(*fleet))

    assert [problem.code for problem in refusal.problems] == ["service_held", "instance_busy"]
    assert first.public_id in refusal.problems[1].detail


def test_a_deploy_that_was_accepted_before_is_answered_again(fleet: list[Instance]) -> None:
    first = deploy(*fleet, deploy_id="deploy-1")
    hold()

    assert deploy(*fleet, deploy_id="deploy-1").pk == first.pk


def test_targets_that_have_not_begun_end_and_those_in_progress_go_on(fleet: list[Instance]) -> None:
    others = make_instances(make_service("other"), make_node("node-2"), 1, prefix="other")
    started, waiting = deploy(fleet[0], fleet[1]), deploy(fleet[2])
    elsewhere = deploy(*others, service="other")
    Target.objects.filter(operation=started, instance=fleet[0]).update(status=TargetStatus.IN_PROGRESS)

    hold()

    waiting.refresh_from_db()
    assert statuses(started) == [TargetStatus.IN_PROGRESS, TargetStatus.SUPERSEDED]
    assert statuses(waiting) == [TargetStatus.SUPERSEDED]
    assert waiting.status == OperationStatus.CANCELLED
    assert REASON in waiting.targets.get().error_message
    assert statuses(elsewhere) == [TargetStatus.PENDING]


def test_what_a_worker_puts_back_does_not_begin_again(fleet: list[Instance]) -> None:
    operation = deploy(fleet[0])
    claimed = claim_one()
    hold()

    moved = apply_moves([Move.of(claimed, to=TargetStatus.PENDING, actor=SYSTEM)])

    operation.refresh_from_db()
    assert moved == {claimed.target_id}
    assert (operation.status, statuses(operation)) == (OperationStatus.CANCELLED, [TargetStatus.SUPERSEDED])


def test_without_a_hold_what_a_worker_puts_back_waits_for_another(fleet: list[Instance]) -> None:
    operation = deploy(fleet[0])
    claimed = claim_one()
    hold()
    release()

    apply_moves([Move.of(claimed, to=TargetStatus.PENDING, actor=SYSTEM)])

    assert statuses(operation) == [TargetStatus.PENDING]


def test_a_retry_of_a_deploy_is_refused_and_one_of_a_rollback_passes(fleet: list[Instance]) -> None:
    operation = deploy(*fleet)
    rollback = start_batch_rollback(
        access=SCHEDULER,
        request=BatchRollbackRequest(
            service="user-service", target_version="v1", package_url=URL, instances=("instance-1",)
        ),
    )
    Target.objects.update(status=TargetStatus.FAILED, finished_at=Now())
    Operation.objects.update(status=OperationStatus.FAILED, finished_at=Now())
    hold()

    refusal = refused(lambda: retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id))

    assert refusal.code == "service_held"
    assert statuses(operation) == [TargetStatus.FAILED] * 3
    assert retry_operation(access=SCHEDULER, kind=Kind.ROLLBACK, public_id=rollback.public_id).attempt == 2


def test_holding_twice_keeps_the_first_ones_facts(fleet: list[Instance]) -> None:
    first = hold()
    again = hold("Another reason", until=timezone.now() + timedelta(hours=1))

    assert (again.pk, again.reason, again.until) == (first.pk, REASON, None)
    assert AuditEntry.objects.filter(action="service.hold").count() == 1


def test_a_released_service_takes_deploys_and_may_be_held_again(fleet: list[Instance]) -> None:
    hold()
    release()
    release()

    assert deploy(*fleet).total == 3
    assert hold("Once more").reason == "Once more"
    assert list(AuditEntry.objects.filter(object_id="user-service").order_by("id").values_list("action", flat=True)) == [
        "service.hold", "service.release", "service.hold"
    ]  # fmt: skip


def test_a_hold_ends_by_itself_and_that_is_written_down(fleet: list[Instance]) -> None:
    held = hold(until=timezone.now() + timedelta(hours=1))
    ended = timezone.now() - timedelta(seconds=1)
    Hold.objects.update(until=ended)

    assert deploy(fleet[0]).total == 1
    end_expired_holds()
    end_expired_holds()

    held.refresh_from_db()
    assert (held.released_at, held.released_by) == (ended, "system")
    assert AuditEntry.objects.filter(action="service.release", actor_name="system").count() == 1


def test_a_hold_whose_end_has_passed_gives_way_to_a_new_one(fleet: list[Instance]) -> None:
    first = hold(until=timezone.now() + timedelta(hours=1))
    Hold.objects.update(until=timezone.now() - timedelta(seconds=1))

    second = hold("Another reason")

    first.refresh_from_db()
    assert first.released_at == first.until
    assert (second.reason, second.released_at) == ("Another reason", None)
