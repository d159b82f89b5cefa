from __future__ import annotations

from typing import Any

import pytest

from deploys.models import Operation, Package
from deploys.operations.finish import finalize_finished
from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service

URL = "https://packages.example.com/user-service/v1.2.2.tar.gz"
ONE = {"instance_id": "instance-1", "target_version": "v1.2.2", "package_url": URL}
BATCH = {
    "service": "user-service",
    "target_version": "v1.2.2",
    "package_url": URL,
    "instances": ["instance-1", "instance-2"],
}


@pytest.fixture(autouse=True)
def fleet(db: None) -> list[Instance]:
    """Three instances that run v1.2.3 and ran v1.2.2 before."""
    service = make_service()
    Package.objects.create(
        service=service, version="v1.2.2", release="v1.2.2", sha256="2" * 64, size_bytes=9, url="https://u:p@h/x?y"
    )
    instances = make_instances(service, make_node())
    Instance.objects.update(
        running_version="v1.2.3",
        running_release="v1.2.3",
        expected_version="v1.2.3",
        run_status="running",
        release_history=["v1.2.2", "v1.2.3"],
    )
    return instances


def post(path: str, body: dict[str, Any], **changes: Any) -> Any:
    return caller().post(path, {**body, **changes}, format="json")


def without(body: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in keys}


def utc(operation: Operation) -> str:
    return operation.started_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_design_documents_instance_rollback_gets_its_answer() -> None:
    answer = post("/v1/rollback/instance", ONE, rollback_id="rollback-67890")

    assert answer.status_code == 202
    assert answer.json() == {
        "rollback_id": "rollback-67890",
        "instance_id": "instance-1",
        "target_version": "v1.2.2",
        "status": "started",
        "message": "rollback started successfully",
        "started_at": utc(Operation.objects.get()),
    }


def test_the_design_documents_batch_rollback_gets_its_answer() -> None:
    answer = post("/v1/rollback/batch", BATCH, rollback_id="rollback-67891")

    assert answer.status_code == 202
    assert answer.json() == {
        "rollback_id": "rollback-67891",
        "service": "user-service",
        "target_version": "v1.2.2",
        "status": "started",
        "instances": ["instance-1", "instance-2"],
        "message": "batch rollback started successfully",
        "started_at": utc(Operation.objects.get()),
    }


def test_the_same_request_again_gets_the_same_answer() -> None:
    first = post("/v1/rollback/batch", BATCH, rollback_id="rollback-1")
    operation = Operation.objects.get()
    operation.targets.update(status="completed", claims=1, step="done", finished_at=operation.started_at)
    finalize_finished([operation.pk])

    assert post("/v1/rollback/batch", BATCH, rollback_id="rollback-1").json() == first.json()


def test_the_status_has_the_documents_keys_and_a_deploys() -> None:
    post("/v1/rollback/instance", without(ONE, "package_url"), rollback_id="rollback-67890")
    operation = Operation.objects.get()
    operation.targets.update(status="completed", step="done", source="node", finished_at=operation.started_at)
    finalize_finished([operation.pk])
    Instance.objects.filter(instance_id="instance-1").update(running_version="v1.2.2")

    status = caller("read").get("/v1/rollback/status/rollback-67890").json()

    completed_at, updated_at = status.pop("completed_at"), status["instances"][0].pop("updated_at")
    assert completed_at >= updated_at >= status["started_at"]
    assert status.pop("updated_at") == completed_at
    assert (status.pop("confirm_within"), status["instances"][0].pop("confirm_by")) == (None, None)
    assert (status.pop("until", None), status.pop("attempt"), status["instances"][0].pop("attempt")) == (
        "switched",
        1,
        1,
    )
    assert status == {
        "rollback_id": "rollback-67890",
        "service": "user-service",
        "version": "v1.2.2",
        "target_version": "v1.2.2",
        "status": "completed",
        "progress": {"total": 1, "completed": 1, "failed": 0, "pending": 0, "in_progress": 0, "cancelled": 0},
        "instances": [
            {
                "instance_id": "instance-1",
                "status": "completed",
                "version": "v1.2.2",
                "step": "done",
                "error": None,
                "reverted": None,
                "source": "node",
                "sent_bytes": None,
                "full_bytes": None,
            }
        ],
        "started_at": utc(operation),
        "package": {"url": "https://h/x", "sha256": "2" * 64, "size": 9},
        "requested_by": "scheduler",
    }


def test_left_out_the_target_is_the_version_before() -> None:
    answer = post("/v1/rollback/instance", without(ONE, "target_version", "package_url"))

    assert answer.json()["target_version"] == "v1.2.2"


def test_left_out_the_instances_are_all_that_run_something_else() -> None:
    Instance.objects.filter(instance_id="instance-2").update(running_version="v1.2.2", expected_version="v1.2.2")

    answer = post("/v1/rollback/batch", without(BATCH, "instances", "package_url"))

    assert answer.json()["instances"] == ["instance-1", "instance-3"]


def test_a_rollback_to_what_runs_says_that_nothing_had_to_be_changed() -> None:
    Instance.objects.update(running_version="v1.2.2", expected_version="v1.2.2", running_sha256="2" * 64)

    first = post("/v1/rollback/instance", ONE, rollback_id="rollback-1")
    again = post("/v1/rollback/instance", ONE, rollback_id="rollback-1")

    assert first.status_code == 202
    assert first.json()["message"] == "nothing had to be changed: v1.2.2 is running already"
    assert again.json() == first.json()
    assert caller().get("/v1/rollback/status/rollback-1").json()["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "body", "status", "attr", "code"),
    [
        ("instance", {**ONE, "instance_id": "instance-9"}, 404, "instance_id", "instance_not_found"),
        ("instance", without({**ONE, "target_version": "v9"}, "package_url"), 400, "target_version", "package_unknown"),
        ("instance", {**ONE, "target_version": None}, 400, "target_version", "null"),
        ("instance", {**ONE, "package_url": ""}, 400, "package_url", "blank"),
        ("instance", without(ONE, "instance_id"), 400, "instance_id", "required"),
        ("batch", {**BATCH, "service": "no-service"}, 404, "service", "service_not_found"),
        ("batch", {**BATCH, "instances": None}, 400, "instances", "null"),
        ("batch", {**BATCH, "instances": []}, 400, "instances", "empty"),
        ("batch", {**BATCH, "instances": ["instance-1", "stranger-1"]}, 400, "instances", "instance_not_found"),
        ("batch", {**BATCH, "from_version": "v7"}, 400, "from_version", "no_instance_matches"),
        ("batch", {**BATCH, "form_version": "v1"}, 400, "form_version", "unknown_field"),
        ("batch", {**BATCH, "rollback_id": 5}, 400, "rollback_id", "invalid"),
        ("batch", without(BATCH, "target_version"), 400, "target_version", "required"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    path: str, body: dict[str, Any], status: int, attr: str, code: str
) -> None:
    make_instances(make_service("other"), make_node("node-2"), count=1, prefix="stranger")

    answer = post(f"/v1/rollback/{path}", body)

    assert answer.status_code == status
    assert [(error["attr"], error["code"]) for error in answer.json()["errors"]] == [(attr, code)]
    assert not Operation.objects.exists()


def test_an_instance_in_an_unfinished_rollback_is_busy() -> None:
    post("/v1/rollback/instance", ONE, rollback_id="rollback-1")

    answer = post("/v1/rollback/instance", ONE, rollback_id="rollback-2")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "instance_busy")


def test_rollbacks_are_listed_apart_from_deploys() -> None:
    post("/v1/rollback/instance", ONE, rollback_id="rollback-1")

    listed = caller("read").get("/v1/rollback/list?status=pending&version=v1.2.2").json()

    assert [rollback["rollback_id"] for rollback in listed["rollbacks"]] == ["rollback-1"]
    assert caller("read").get("/v1/deploy/list").json() == {"deploys": [], "next": None}
    assert caller("read").get("/v1/deploy/status/rollback-1").status_code == 404


def test_a_rollback_can_be_cancelled_and_tried_again() -> None:
    post("/v1/rollback/batch", BATCH, rollback_id="rollback-1")

    cancelled = caller().post("/v1/rollback/cancel/rollback-1")
    retried = caller().post("/v1/rollback/retry/rollback-1")

    assert (cancelled.status_code, retried.status_code) == (202, 202)
    assert cancelled.json() == {
        "rollback_id": "rollback-1",
        "status": "cancelled",
        "message": "rollback cancelled",
        "instances": ["instance-1", "instance-2"],
    }
    assert retried.json()["instances"] == ["instance-1", "instance-2"]
