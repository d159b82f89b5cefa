from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django_q.models import OrmQ

from deploys.models import Operation, Target
from deploys.operations.cancel import cancel_operation
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, OperationStatus, TargetStatus
from inventory.errors import Conflict, InvalidRequest, NotFound
from inventory.models import Instance, StatusChange
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

URL = "http://packages.example.com/user-service/v1.2.3.tar.gz"


def request(instances: tuple[str, ...], **changes: object) -> DeployRequest:
    values: dict[str, object] = {
        "service": "user-service",
        "version": "v1.2.3",
        "instances": instances,
        "package_url": URL,
        "deploy_id": "deploy-1",
        **changes,
    }
    return DeployRequest(**values)  # type: ignore[arg-type]


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    return make_instances(make_service(), make_node())


def test_it_stores_the_operation_its_targets_and_a_wake_up_together(fleet: list[Instance]) -> None:
    operation = start_deploy(access=SCHEDULER, request=request(ids(fleet)))

    assert operation.total == 3
    assert operation.started_at is not None
    assert set(operation.targets.values_list("status", flat=True)) == {TargetStatus.PENDING}
    assert OrmQ.objects.filter(key="deploys").count() >= 1


def test_the_same_request_again_gives_the_same_operation_and_starts_nothing(fleet: list[Instance]) -> None:
    first = start_deploy(access=SCHEDULER, request=request(ids(fleet)))
    again = start_deploy(access=SCHEDULER, request=request(tuple(reversed(ids(fleet)))))

    assert again.pk == first.pk
    assert again.started_at == first.started_at
    assert Target.objects.count() == 3


def test_it_refuses_another_request_under_a_used_id(fleet: list[Instance]) -> None:
    start_deploy(access=SCHEDULER, request=request(ids(fleet)))

    with pytest.raises(Conflict) as refusal:
        start_deploy(access=SCHEDULER, request=request(ids(fleet), version="v1.2.4"))

    assert refusal.value.code == "deploy_id_reused"


def test_it_refuses_an_unknown_service(fleet: list[Instance]) -> None:
    with pytest.raises(NotFound):
        start_deploy(access=SCHEDULER, request=request(ids(fleet), service="nobody"))


def test_it_names_every_instance_at_fault_and_changes_nothing(fleet: list[Instance]) -> None:
    other = make_instances(make_service("other"), make_node("node-2"), 1, prefix="other")[0]

    with pytest.raises(InvalidRequest) as refusal:
        start_deploy(
            access=SCHEDULER,
            request=request(("instance-1", "instance-1", "missing", other.instance_id)),
        )

    details = [problem.detail for problem in refusal.value.problems]
    assert len(details) == 3
    for name in ("instance-1", "missing", "other-1"):
        assert any(name in detail for detail in details)
    assert not Operation.objects.exists()


def test_it_refuses_a_busy_instance_naming_who_holds_it_and_changes_nothing(fleet: list[Instance]) -> None:
    start_deploy(access=SCHEDULER, request=request(("instance-2",)))

    with pytest.raises(Conflict) as refusal:
        start_deploy(access=SCHEDULER, request=request(ids(fleet), deploy_id="deploy-2"))

    (problem,) = refusal.value.problems
    assert problem.code == "instance_busy"
    assert "instance-2" in problem.detail
    assert "deploy-1" in problem.detail
    assert Operation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_hundred_equal_requests_at_once_make_one_operation() -> None:
    fleet = make_instances(make_service(), make_node())
    start = threading.Barrier(20)

    def post(_: int) -> int:
        try:
            start.wait()
            return [start_deploy(access=SCHEDULER, request=request(ids(fleet))).pk for _ in range(5)][-1]
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        keys = set(pool.map(post, range(20)))

    assert len(keys) == 1
    assert Operation.objects.count() == 1
    assert Target.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_deploys_of_one_instance_at_once_one_is_refused() -> None:
    fleet = make_instances(make_service(), make_node(), 20)
    start = threading.Barrier(2)

    def post(number: int) -> str:
        try:
            start.wait()
            chosen = ids(fleet) if number else tuple(reversed(ids(fleet)))
            start_deploy(access=SCHEDULER, request=request(chosen, deploy_id=f"deploy-{number}"))
            return "started"
        except Conflict as conflict:
            return conflict.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(post, range(2)))

    assert answers == ["instance_busy", "started"]
    assert Operation.objects.count() == 1


def test_a_cancel_ends_what_has_not_begun_and_frees_the_instances(fleet: list[Instance]) -> None:
    start_deploy(access=SCHEDULER, request=request(ids(fleet)))

    operation = cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="deploy-1")

    assert operation.status == OperationStatus.CANCELLED
    assert operation.cancelled == 3
    assert operation.finished_at is not None
    changes = StatusChange.objects.filter(field="target").values_list("old", "new")
    assert set(changes) == {("pending", "cancelled")}
    start_deploy(access=SCHEDULER, request=request(ids(fleet), deploy_id="deploy-2"))


def test_cancelling_twice_is_fine(fleet: list[Instance]) -> None:
    start_deploy(access=SCHEDULER, request=request(ids(fleet)))
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="deploy-1")

    again = cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="deploy-1")

    assert again.status == OperationStatus.CANCELLED


def test_a_retry_tries_failed_and_cancelled_targets_again_and_keeps_every_attempt(fleet: list[Instance]) -> None:
    start_deploy(access=SCHEDULER, request=request(ids(fleet)))
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="deploy-1")

    operation = retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="deploy-1")

    assert operation.targets.count() == 6
    assert operation.targets.filter(is_latest=True, attempt=2, status=TargetStatus.PENDING).count() == 3
    assert operation.targets.filter(is_latest=False, attempt=1, status=TargetStatus.CANCELLED).count() == 3
    assert operation.finished_at is None


def test_a_retry_with_nothing_to_try_is_refused(fleet: list[Instance]) -> None:
    start_deploy(access=SCHEDULER, request=request(ids(fleet)))

    with pytest.raises(Conflict) as refusal:
        retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="deploy-1")

    assert refusal.value.code == "nothing_to_retry"
