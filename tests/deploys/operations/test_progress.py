"""What is said of a running operation is what is frozen on its row when it ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement

import pytest
from django.db.models.functions import Now

from deploys.models import Operation
from deploys.operations.finish import finalize_finished
from deploys.operations.progress import Progress, frozen, progress_of, status_of, with_status
from deploys.operations.queries import OperationFilter, operation_list, operation_payload
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import ACTIVE, Kind, OperationStatus, TargetStatus
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

MIXES = list(combinations_with_replacement(TargetStatus, 3))
ENDS = [mix for mix in MIXES if not set(mix) & set(ACTIVE)]


@pytest.fixture
def deploy(db: None) -> Operation:
    fleet = make_instances(make_service(), make_node())
    request = DeployRequest(
        service="user-service", version="v1", instances=ids(fleet), package_url="http://p.example/v1"
    )
    return start_deploy(access=SCHEDULER, request=request)


def stand(deploy: Operation, mix: tuple[TargetStatus, ...]) -> None:
    for target, status in zip(deploy.targets.order_by("pk"), mix, strict=True):
        finished_at = None if status in ACTIVE else Now()
        deploy.targets.filter(pk=target.pk).update(status=status, finished_at=finished_at)


@pytest.mark.parametrize("mix", ENDS, ids="-".join)
def test_what_is_derived_just_before_the_end_is_what_is_frozen(
    deploy: Operation, mix: tuple[TargetStatus, ...]
) -> None:
    stand(deploy, mix)
    derived = replace(progress_of([deploy])[deploy.pk], changed_at=None)
    said = operation_payload(SCHEDULER, Kind.DEPLOY, deploy.public_id)["progress"]

    finalize_finished([deploy.pk])

    deploy.refresh_from_db()
    assert frozen(deploy) == derived
    assert deploy.status == derived.status == status_of(deploy, frozen(deploy))
    assert operation_payload(SCHEDULER, Kind.DEPLOY, deploy.public_id)["progress"] == said


def test_its_status_its_list_and_the_filter_by_status_agree_in_every_mix(deploy: Operation) -> None:
    for mix in MIXES:
        stand(deploy, mix)
        status = status_of(deploy, progress_of([deploy])[deploy.pk])
        found = [each for each in OperationStatus if with_status(Operation.objects.all(), each).exists()]
        [listed] = operation_list(SCHEDULER, Kind.DEPLOY, OperationFilter())["deploys"]

        assert [status] == found, mix
        assert listed["status"] == operation_payload(SCHEDULER, Kind.DEPLOY, deploy.public_id)["status"] == status, mix


def test_a_running_operation_is_never_said_to_have_ended(deploy: Operation) -> None:
    stand(deploy, (TargetStatus.COMPLETED,) * 3)

    assert status_of(deploy, progress_of([deploy])[deploy.pk]) == OperationStatus.IN_PROGRESS


def test_one_with_work_left_is_not_frozen(deploy: Operation) -> None:
    stand(deploy, (TargetStatus.FAILED, TargetStatus.COMPLETED, TargetStatus.PENDING))

    finalize_finished([deploy.pk])

    deploy.refresh_from_db()
    assert (deploy.finished_at, frozen(deploy)) == (None, Progress(pending=3))
