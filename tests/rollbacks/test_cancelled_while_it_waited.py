"""A rollback that is cancelled while it waits for a deploy's switch: what the switch did is what the deploy says."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.models import Operation, Package, Target
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.states import Step, TargetStatus
from deploys.told import verbatim
from inventory.actors import SYSTEM
from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service


@pytest.fixture(autouse=True)
def fleet(db: None) -> list[Instance]:
    service = make_service()
    Package.objects.create(service=service, version="v1", release="v1", sha256="1" * 64, size_bytes=1, url="http://p/1")
    return make_instances(service, make_node(), 2)


def post(path: str, body: dict[str, Any] | None = None) -> Any:
    answer = caller().post(f"/v1/{path}", body or {}, format="json")
    assert answer.status_code == 202, answer.json()
    return answer.json()


@pytest.fixture
def target() -> Target:
    """Of a deploy in the middle of its switch, for which a rollback waits."""
    body = {"service": "user-service", "version": "v2", "package_url": "http://p/2", "deploy_id": "d"}
    post("deploy/execute", {**body, "instances": ["instance-1"]})
    target = Target.objects.select_related("operation").get()
    Target.objects.filter(pk=target.pk).update(status="in_progress", step="restart", fence=7)
    post("rollback/instance", {"instance_id": "instance-1", "target_version": "v1", "rollback_id": "r"})
    target.refresh_from_db()
    assert target.stop_reason == "supersede"
    return target


def end(target: Target, status: TargetStatus, **details: Any) -> None:
    """As the worker tells the end of the switch."""
    apply_moves([Move.of(MovableTarget.of(target), to=status, actor=SYSTEM, fence=7, step=Step.DONE, **details)])


def told() -> tuple[str, str]:
    status = caller().get("/v1/deploy/status/d").json()
    return status["status"], status["instances"][0]["status"]


def test_a_target_that_did_switch_is_completed(target: Target) -> None:
    post("rollback/cancel/r")

    end(target, TargetStatus.COMPLETED)

    assert told() == ("completed", "completed")


def test_one_that_failed_is_failed_and_can_be_retried(target: Target) -> None:
    post("rollback/cancel/r")

    end(target, TargetStatus.FAILED, error_code="command_failed", told=(verbatim("x"),), reverted=True)

    assert told() == ("failed", "failed")
    assert post("deploy/retry/d")["instances"] == ["instance-1"]


def test_while_the_rollback_waits_it_is_superseded(target: Target) -> None:
    end(target, TargetStatus.COMPLETED)

    assert told() == ("cancelled", "superseded")
    answer = caller().post("/v1/deploy/retry/d")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "nothing_to_retry")


def test_superseded_is_what_it_ends_as_when_a_stop_before_the_rollback_has_ended_its_restart(target: Target) -> None:
    """As the rollback's preview promises."""
    end(target, TargetStatus.CANCELLED, error_code="cancelled_in_switch", reverted=True)

    assert told() == ("cancelled", "superseded")


def test_a_deploy_that_is_being_cancelled_is_not_retried(fleet: list[Instance]) -> None:
    body = {"service": "user-service", "version": "v2", "package_url": "http://p/2", "deploy_id": "d"}
    post("deploy/execute", {**body, "instances": ["instance-1", "instance-2"]})
    first = Target.objects.order_by("pk").first()
    assert first is not None
    Target.objects.filter(pk=first.pk).update(status="in_progress", step="restart", fence=7)
    assert post("deploy/cancel/d")["status"] == "cancelling"

    answer = caller().post("/v1/deploy/retry/d")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "cancel_in_progress")
    first.refresh_from_db()
    end(first, TargetStatus.CANCELLED)
    assert Operation.objects.get().status == "cancelled"
    assert len(post("deploy/retry/d")["instances"]) == 2
