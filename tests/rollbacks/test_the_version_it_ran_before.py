"""The version that an instance goes back to when none is named: one answer over API, console and plan."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from deploys.models import Operation, Package, Target
from deploys.operations.cancel import cancel_operation
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.states import Kind, Step, TargetStatus
from deploys.web.pages.queries.service import InstanceFilter, instance_rows
from inventory.actors import SYSTEM
from inventory.console.pages import Pages
from inventory.instances.facts import Effect
from inventory.models import Instance, RunStatus
from rollbacks.plan import build_plan
from rollbacks.services import (
    BatchRollbackRequest,
    InstanceRollbackRequest,
    start_batch_rollback,
    start_instance_rollback,
)
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service


@pytest.fixture
def instance(db: None) -> Instance:
    """It ran v0, then v1."""
    service = make_service()
    (one,) = make_instances(service, make_node(), 1)
    for version in ("v0", "v1", "v2", "v3"):
        Package.objects.create(
            service=service, version=version, release=version, sha256=version * 32, size_bytes=1, url="http://p/x"
        )
    for version in ("v0", "v1"):
        end(deploy(version), TargetStatus.COMPLETED, ran(version))
    one.refresh_from_db()
    assert one.release_history == ["v0", "v1"]
    return one


def deploy(version: str, name: str = "") -> Operation:
    request = DeployRequest(
        service="user-service", version=version, instances=("instance-1",), package_url="http://p/x",
        deploy_id=name or f"deploy-{version}",
    )  # fmt: skip
    return start_deploy(access=SCHEDULER, request=request)


def ran(version: str) -> Effect:
    return Effect(
        version=version,
        release=version,
        sha256=version * 32,
        run_status=RunStatus.RUNNING,
        is_expected=True,
        history="push",
    )


def broken(version: str) -> Effect:
    """Switched to; the restart failed, and there was nothing to go back to."""
    return Effect(version=version, release=version, sha256=version * 32, run_status=RunStatus.FAILED, is_expected=True)


def begin(operation: Operation, step: Step) -> Target:
    target = Target.objects.select_related("operation").get(operation=operation, is_latest=True)
    Target.objects.filter(pk=target.pk).update(status=TargetStatus.IN_PROGRESS, step=step)
    target.status = TargetStatus.IN_PROGRESS
    return target


def end(
    operation: Operation, status: TargetStatus, effect: Effect | None = None, *, step: Step = Step.DONE, **details: Any
) -> None:
    target = begin(operation, step)
    apply_moves([Move.of(MovableTarget.of(target), to=status, actor=SYSTEM, effect=effect, **details)])


def answers(instance: Instance) -> set[str]:
    """By plan, by the service's page, and, last as it starts one, by the API."""
    service = instance.service
    (row,) = instance_rows(InstanceFilter().matching(service), Pages.of({}, total=1, size=10))  # type: ignore[arg-type]
    plan = build_plan(service, service.instances.all())
    api: APIClient = caller("deploy")
    answer = api.post("/v1/rollback/instance", {"instance_id": "instance-1"}, format="json")
    assert answer.status_code == 202, answer.json()
    return {plan.version, row.previous_version, answer.json()["target_version"]}


def test_with_nothing_unfinished_it_is_the_one_before_the_running_one(instance: Instance) -> None:
    assert answers(instance) == {"v0"}


@pytest.mark.parametrize("step", [None, Step.STAGE, Step.SWITCH, Step.RESTART, Step.CLEAN_UP])
def test_with_a_deploy_unfinished_it_is_what_ran_before_that_deploy(instance: Instance, step: Step | None) -> None:
    operation = deploy("v2")
    if step is not None:
        begin(operation, step)

    assert answers(instance) == {"v1"}


def test_also_when_the_new_version_is_recorded_already(instance: Instance) -> None:
    operation = deploy("v2")
    begin(operation, Step.RESTART)
    Instance.objects.update(running_version="v2", running_release="v2", release_history=["v0", "v1", "v2"])

    assert answers(instance) == {"v1"}


def test_a_pending_deploys_own_memory_is_older_than_what_a_sync_read_since(instance: Instance) -> None:
    deploy("v2")
    Instance.objects.update(running_version="v3", running_release="v3")

    assert answers(instance) == {"v3"}


def test_tried_again_after_it_had_failed_and_been_put_back(instance: Instance) -> None:
    operation = deploy("v2")
    reverted(operation)
    retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)

    assert answers(instance) == {"v1"}


def test_tried_again_after_it_had_failed_for_good(instance: Instance) -> None:
    operation = deploy("v2")
    end(operation, TargetStatus.FAILED, broken("v2"), step=Step.RESTART, reverted=False, error_code="command_failed")
    assert Instance.objects.get().running_version == "v2"
    retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)

    assert answers(instance) == {"v1"}


def test_a_deploy_of_what_runs_already_is_taken_back_to_just_that(instance: Instance) -> None:
    operation = deploy("v1", "deploy-v1-again")

    plan = build_plan(instance.service, instance.service.instances.all())
    assert [row.skip for row in plan.rows] == [None]
    assert plan.rows[0].supersedes == "deploy-v1-again"
    assert answers(instance) == {"v1"}
    assert operation.targets.get().status == TargetStatus.SUPERSEDED


def test_the_page_offers_the_same(instance: Instance, client: Client) -> None:
    deploy("v2")
    client.force_login(User.objects.create_superuser("ann", password="x"))

    page = client.get(reverse("roll-back", args=["user-service"]), {"i": instance.pk})

    assert page.context["plan"].version == "v1"
    assert [(row.from_version, row.supersedes) for row in page.context["plan"].moving] == [("v1", "deploy-v2")]


# Which deploy a rollback is recorded as taking back.


def undone(to: str | None = None) -> str | None:
    request = InstanceRollbackRequest(instance_id="instance-1", target_version=to)
    rollback = start_instance_rollback(access=SCHEDULER, request=request)
    return rollback.undoes.public_id if rollback.undoes else None


def test_it_undoes_the_deploy_that_brought_what_runs(instance: Instance) -> None:
    assert undone() == "deploy-v1"


def cancelled(operation: Operation) -> None:
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)


def refused(operation: Operation) -> None:
    end(operation, TargetStatus.FAILED, step=Step.FETCH, error_code="package_unreachable")


def reverted(operation: Operation) -> None:
    end(
        operation,
        TargetStatus.FAILED,
        Effect(run_status=RunStatus.RUNNING),
        step=Step.RESTART,
        reverted=True,
        error_code="command_failed",
    )


def superseded(operation: Operation) -> None:
    end(operation, TargetStatus.SUPERSEDED, step=Step.STAGE)


def unswitched(operation: Operation) -> None:
    end(operation, TargetStatus.FAILED, step=Step.SWITCH, error_code="switch_failed")


def without_room(operation: Operation) -> None:
    end(operation, TargetStatus.FAILED, step=Step.SWITCH, error_code="node_disk_full")


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("ended", [cancelled, refused, reverted, superseded, unswitched, without_room])
def test_not_a_newer_one_that_changed_nothing(instance: Instance, ended: Any, version: str) -> None:
    ended(deploy(version, "newer"))

    assert undone("v0") == "deploy-v1"


def test_one_that_left_it_broken_is_undone(instance: Instance) -> None:
    end(deploy("v2"), TargetStatus.FAILED, broken("v2"), step=Step.RESTART, reverted=False, error_code="command_failed")

    assert undone() == "deploy-v2"


def test_one_that_was_superseded_after_its_switch_is_undone(instance: Instance) -> None:
    end(deploy("v2"), TargetStatus.SUPERSEDED, ran("v2"), step=Step.DONE)

    assert undone() == "deploy-v2"


def test_an_unfinished_deploy_that_gives_way_is_undone(instance: Instance) -> None:
    deploy("v2")

    assert undone() == "deploy-v2"


def test_what_a_rollback_brought_back_is_its_deploys(instance: Instance) -> None:
    end(deploy("v2"), TargetStatus.COMPLETED, ran("v2"))
    rollback = start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))
    end(rollback, TargetStatus.COMPLETED, Effect(version="v1", release="v1", run_status="running", history="pop"))

    assert undone() == "deploy-v1"


def test_a_rollback_that_takes_nothing_away_undoes_nothing(instance: Instance) -> None:
    assert undone("v1") is None


def test_nor_does_one_of_a_version_that_no_deploy_brought(instance: Instance) -> None:
    Instance.objects.update(running_version="by-hand", running_release="by-hand")

    assert undone("v1") is None


def test_of_several_it_is_the_one_that_most_instances_are_in(instance: Instance) -> None:
    service = instance.service
    others = make_instances(service, make_node("node-2"), 2, prefix="other")
    names = tuple(other.instance_id for other in others)
    start_deploy(
        access=SCHEDULER,
        request=DeployRequest(service=service.name, version="v2", instances=names, package_url="u", deploy_id="most"),
    )
    end(deploy("v3"), TargetStatus.COMPLETED, ran("v3"))

    request = BatchRollbackRequest(service=service.name, target_version="v0")
    rollback = start_batch_rollback(access=SCHEDULER, request=request)

    assert rollback.undoes is not None
    assert rollback.undoes.public_id == "most"
