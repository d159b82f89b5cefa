from __future__ import annotations

import pytest

from deploys.models import Operation, Package, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, StopReason, TargetStatus
from inventory.errors import Conflict, InvalidRequest, NotFound
from inventory.models import Instance
from rollbacks.services import (
    BatchRollbackRequest,
    InstanceRollbackRequest,
    start_batch_rollback,
    start_instance_rollback,
)
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

OLD, NEW = "v1.2.2", "v1.2.3"


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    """Three instances that ran v1.2.2, then v1.2.3."""
    service = make_service()
    for version in (OLD, NEW):
        Package.objects.create(
            service=service, version=version, release=version, sha256=version * 8, size_bytes=1, url="http://p/x"
        )
    instances = make_instances(service, make_node())
    Instance.objects.update(
        running_version=NEW,
        running_release=NEW,
        running_sha256=NEW * 8,
        expected_version=NEW,
        release_history=[OLD, NEW],
        run_status="running",
    )
    return instances


def batch(**changes: object) -> BatchRollbackRequest:
    values: dict[str, object] = {"service": "user-service", "target_version": OLD, **changes}
    return BatchRollbackRequest(**values)  # type: ignore[arg-type]


def deploy(instances: tuple[str, ...], version: str = "v1.2.4") -> Operation:
    return start_deploy(
        access=SCHEDULER,
        request=DeployRequest(
            service="user-service", version=version, instances=instances, package_url="http://p/y", deploy_id="deploy-1"
        ),
    )


def test_left_out_the_target_is_the_version_it_ran_before(fleet: list[Instance]) -> None:
    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1", rollback_id="rollback-1")
    )

    assert rollback.version == OLD
    assert rollback.package is not None
    assert list(rollback.targets.values_list("instance__instance_id", flat=True)) == ["instance-1"]


def test_a_second_rollback_goes_further_back_instead_of_forward_to_what_was_rolled_back(fleet: list[Instance]) -> None:
    Instance.objects.update(running_version=OLD, running_release=OLD, release_history=["v1.2.1", OLD])

    with pytest.raises(InvalidRequest) as refusal:
        start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))

    assert refusal.value.code == "package_unknown"
    assert "v1.2.1" in str(refusal.value)


def test_without_an_earlier_version_it_asks_for_one(fleet: list[Instance]) -> None:
    Instance.objects.update(release_history=[NEW])

    with pytest.raises(InvalidRequest) as refusal:
        start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))

    assert refusal.value.code == "no_previous_version"
    assert "`current`" not in str(refusal.value)


def test_it_says_why_it_does_not_go_back_to_a_build_of_another_tool(fleet: list[Instance]) -> None:
    Instance.objects.update(release_history=[NEW], found_current="/srv/builds/42")

    with pytest.raises(InvalidRequest) as refusal:
        start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))

    assert "`current` led to /srv/builds/42, where a rollback can't go: link it by hand" in str(refusal.value)


def test_a_version_that_was_never_released_needs_a_package_url(fleet: list[Instance]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        start_batch_rollback(access=SCHEDULER, request=batch(target_version="v0.9"))
    assert refusal.value.code == "package_unknown"
    assert not Operation.objects.exists()

    rollback = start_batch_rollback(
        access=SCHEDULER, request=batch(target_version="v0.9", package_url="http://p/v0.9.tar.gz")
    )
    assert rollback.total == 3


def test_an_unknown_instance_and_an_unknown_service_are_not_found(fleet: list[Instance]) -> None:
    with pytest.raises(NotFound):
        start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="nobody"))
    with pytest.raises(NotFound):
        start_batch_rollback(access=SCHEDULER, request=batch(service="nobody"))


def test_a_batch_takes_no_instance_of_another_service(fleet: list[Instance]) -> None:
    make_instances(make_service("other"), make_node("node-2"), 1, prefix="other")

    with pytest.raises(InvalidRequest) as refusal:
        start_batch_rollback(access=SCHEDULER, request=batch(instances=("instance-1", "other-1")))

    assert [problem.code for problem in refusal.value.problems] == ["instance_not_found"]


def test_left_out_the_instances_are_those_that_do_not_run_the_target(fleet: list[Instance]) -> None:
    Instance.objects.filter(instance_id="instance-2").update(running_version=OLD, running_release=OLD)

    rollback = start_batch_rollback(access=SCHEDULER, request=batch())

    chosen = set(rollback.targets.values_list("instance__instance_id", flat=True))
    assert chosen == {"instance-1", "instance-3"}


def test_an_instance_that_a_deploy_is_about_to_take_away_from_the_target_is_held_there(fleet: list[Instance]) -> None:
    deploy(("instance-1",))

    rollback = start_batch_rollback(access=SCHEDULER, request=batch(target_version=NEW))

    (target,) = rollback.targets.all()
    assert target.instance.instance_id == "instance-1"
    assert target.status == TargetStatus.COMPLETED
    assert Operation.objects.get(public_id="deploy-1").status == OperationStatus.CANCELLED


def test_from_version_narrows_the_choice(fleet: list[Instance]) -> None:
    Instance.objects.filter(instance_id="instance-2").update(running_version="v1.2.1")

    rollback = start_batch_rollback(access=SCHEDULER, request=batch(from_version=NEW))
    assert rollback.total == 2

    with pytest.raises(InvalidRequest) as refusal:
        start_batch_rollback(access=SCHEDULER, request=batch(from_version="v7"))
    assert refusal.value.code == "no_instance_matches"


def test_an_instance_that_runs_the_target_is_completed_at_once_without_touching_it(fleet: list[Instance]) -> None:
    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1", target_version=NEW)
    )

    assert rollback.status == OperationStatus.COMPLETED
    assert rollback.completed == rollback.total == 1
    (target,) = rollback.targets.all()
    assert target.claims == 0


def test_an_unfinished_rollback_holds_its_instances(fleet: list[Instance]) -> None:
    start_batch_rollback(access=SCHEDULER, request=batch(rollback_id="rollback-1"))

    with pytest.raises(Conflict) as refusal:
        start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))

    assert refusal.value.code == "instance_busy"
    with pytest.raises(Conflict):
        deploy(("instance-1",))


def test_a_pending_deploy_is_superseded_at_once(fleet: list[Instance]) -> None:
    operation = deploy(ids(fleet))

    rollback = start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-2"))

    statuses = dict(operation.targets.values_list("instance__instance_id", "status"))
    assert statuses == {"instance-1": "pending", "instance-2": "superseded", "instance-3": "pending"}
    assert rollback.undoes == operation


def test_a_deploy_at_work_is_asked_to_stop_and_the_rollback_waits(fleet: list[Instance]) -> None:
    operation = deploy(("instance-2",))
    Target.objects.filter(operation=operation).update(status=TargetStatus.IN_PROGRESS)

    rollback = start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-2"))

    assert operation.targets.get().stop_reason == StopReason.SUPERSEDE
    assert rollback.targets.get().status == TargetStatus.PENDING


def test_the_same_request_again_gives_the_same_rollback(fleet: list[Instance]) -> None:
    first = start_batch_rollback(access=SCHEDULER, request=batch(rollback_id="rollback-1"))
    again = start_batch_rollback(access=SCHEDULER, request=batch(rollback_id="rollback-1"))
    assert again.pk == first.pk

    with pytest.raises(Conflict) as refusal:
        start_batch_rollback(access=SCHEDULER, request=batch(rollback_id="rollback-1", target_version=NEW))
    assert refusal.value.code == "rollback_id_reused"
