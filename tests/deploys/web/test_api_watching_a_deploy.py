from __future__ import annotations

from typing import Any

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deploys.models import LogLine, Operation, Package
from deploys.operations.finish import finalize_finished
from deploys.operations.start import DeployRequest, start_deploy
from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

AT = "2024-01-15T10:31:00Z"


@pytest.fixture
def deploy(db: None) -> Operation:
    """Three instances, one done, one under way, one waiting."""
    operation = start(make_instances(make_service(), make_node()))
    step(operation, "instance-1", "completed", finished_at=AT, step="done", source="download", reverted=False)
    step(operation, "instance-2", "in_progress", step="stage")
    Instance.objects.filter(instance_id="instance-1").update(running_version="v1.2.3")
    Instance.objects.filter(instance_id="instance-2").update(running_version="v1.2.2")
    return operation


def start(instances: list[Instance], **changes: Any) -> Operation:
    values = {
        "service": "user-service",
        "version": "v1.2.3",
        "instances": ids(instances),
        "package_url": "https://ada:secret@packages.example.com/v1.2.3.tar.gz?token=secret#x",
        "deploy_id": "deploy-12345",
        **changes,
    }
    return start_deploy(access=SCHEDULER, request=DeployRequest(**values))


def step(operation: Operation, instance_id: str, status: str, **fields: Any) -> None:
    targets = operation.targets.filter(instance__instance_id=instance_id)
    targets.update(**{"status": status, "updated_at": AT, **fields})


def finish(operation: Operation, status: str = "completed") -> None:
    operation.targets.update(status=status, step="done", finished_at=AT)
    finalize_finished([operation.pk])


def get(path: str) -> Any:
    answer = caller("read").get(path)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_status_has_exactly_the_contracts_keys(deploy: Operation) -> None:
    status = get("/v1/deploy/status/deploy-12345")

    started_at = deploy.started_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    first, second, third = status.pop("instances")
    assert status == {
        "deploy_id": "deploy-12345",
        "service": "user-service",
        "version": "v1.2.3",
        "until": "switched",
        "confirm_within": None,
        "status": "in_progress",
        "attempt": 1,
        "progress": {"total": 3, "completed": 1, "failed": 0, "pending": 2, "in_progress": 1, "cancelled": 0},
        "started_at": started_at,
        "updated_at": started_at,
        "completed_at": None,
        "package": {"url": "https://packages.example.com/v1.2.3.tar.gz", "sha256": None, "size": None},
        "requested_by": "scheduler",
    }
    assert first == {
        "instance_id": "instance-1",
        "status": "completed",
        "version": "v1.2.3",
        "updated_at": AT,
        "step": "done",
        "error": None,
        "reverted": False,
        "source": "download",
        "sent_bytes": None,
        "full_bytes": None,
        "attempt": 1,
        "confirm_by": None,
    }
    assert second == {
        **first,
        "instance_id": "instance-2",
        "status": "in_progress",
        "version": "v1.2.2",
        "step": "stage",
        "reverted": None,
        "source": None,
    }
    assert (third["status"], third["version"]) == ("pending", None)


def test_an_error_says_what_happened(deploy: Operation) -> None:
    step(deploy, "instance-2", "failed", finished_at=AT, error_code="node_unreachable", error_message="no route")

    status = get("/v1/deploy/status/deploy-12345")

    assert status["instances"][1]["error"] == {"code": "node_unreachable", "message": "no route"}
    assert status["progress"] == {
        "total": 3, "completed": 1, "failed": 1, "pending": 1, "in_progress": 0, "cancelled": 0
    }  # fmt: skip


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "superseded"])
def test_a_finished_deploy_shows_what_was_frozen(deploy: Operation, status: str) -> None:
    deploy.targets.exclude(status="completed").update(status=status, finished_at=AT)
    derived = get("/v1/deploy/status/deploy-12345")
    finalize_finished([deploy.pk])

    frozen = get("/v1/deploy/status/deploy-12345")

    assert frozen["progress"] == derived["progress"]
    assert frozen["progress"]["pending"] == frozen["progress"]["in_progress"] == 0
    assert frozen["status"] == ("cancelled" if status == "superseded" else status)
    assert frozen["completed_at"] is not None
    # All targets have ended, but the deploy has not: that is a moment between two reads, not an end yet.
    assert (derived["status"], derived["completed_at"]) == ("in_progress", None)


def test_the_package_is_told_without_its_secrets(deploy: Operation) -> None:
    package = Package.objects.create(
        service=deploy.service,
        version="v1.2.3",
        release="v1.2.3",
        sha256="a" * 64,
        size_bytes=7,
        url="http://u:p@h/x?y",
    )
    Operation.objects.update(package=package)

    for path in ("/v1/deploy/status/deploy-12345", "/v1/deploy/list"):
        text = orjson.dumps(get(path)).decode()
        assert "secret" not in text
        assert '"package":{"url":"https://packages.example.com/v1.2.3.tar.gz","sha256":"' + "a" * 64 in text


def test_instances_come_in_natural_order(db: None) -> None:
    start(list(reversed(make_instances(make_service(), make_node(), count=11))))

    status = get("/v1/deploy/status/deploy-12345")

    assert [instance["instance_id"] for instance in status["instances"]] == [f"instance-{n}" for n in range(1, 12)]


def test_a_retried_instance_shows_its_newest_attempt_alone(deploy: Operation) -> None:
    finish(deploy, "failed")

    answer = caller().post("/v1/deploy/retry/deploy-12345")

    assert answer.status_code == 202
    assert answer.json() == {
        "deploy_id": "deploy-12345",
        "status": "started",
        "message": "attempt 2 started successfully",
        "instances": ["instance-1", "instance-2", "instance-3"],
    }
    status = get("/v1/deploy/status/deploy-12345")
    assert [instance["status"] for instance in status["instances"]] == ["pending"] * 3
    assert (status["status"], status["progress"]["total"]) == ("pending", 3)


def test_a_retry_that_names_its_attempt_is_made_once(deploy: Operation) -> None:
    finish(deploy, "failed")
    first = caller().post("/v1/deploy/retry/deploy-12345", {"attempt": 2})

    again = caller().post("/v1/deploy/retry/deploy-12345", {"attempt": 2})
    finish(deploy, "failed")
    after_its_end = caller().post("/v1/deploy/retry/deploy-12345", {"attempt": 2})

    assert (again.status_code, after_its_end.status_code) == (202, 202)
    assert first.json() == again.json() == after_its_end.json()
    assert get("/v1/deploy/status/deploy-12345")["attempt"] == 2


@pytest.mark.parametrize("attempt", [3, 32_767])
def test_a_retry_that_names_another_attempt_than_the_next_is_refused(deploy: Operation, attempt: int) -> None:
    finish(deploy, "failed")

    answer = caller().post("/v1/deploy/retry/deploy-12345", {"attempt": attempt})

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "attempt_mismatch")
    assert get("/v1/deploy/status/deploy-12345")["attempt"] == 1


@pytest.mark.parametrize("attempt", [1, 0, -1, "2", 2.0, True, None, 32_768])
def test_an_attempt_that_is_no_number_of_a_retry_is_refused(deploy: Operation, attempt: Any) -> None:
    finish(deploy, "failed")

    answer = caller().post("/v1/deploy/retry/deploy-12345", {"attempt": attempt}, format="json")

    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "attempt")


def test_a_cancel_says_which_instances_it_stops(deploy: Operation) -> None:
    answer = caller().post("/v1/deploy/cancel/deploy-12345")

    assert answer.status_code == 202
    assert answer.json() == {
        "deploy_id": "deploy-12345",
        "status": "cancelling",
        "message": "deploy is being cancelled",
        "instances": ["instance-2", "instance-3"],
    }


def test_a_cancel_of_what_is_over_is_a_conflict(deploy: Operation) -> None:
    finish(deploy)

    assert caller().post("/v1/deploy/cancel/deploy-12345").status_code == 409


def test_a_cancel_takes_no_keys(deploy: Operation) -> None:
    answer = caller().post("/v1/deploy/cancel/deploy-12345", {"instances": ["instance-2"]}, format="json")

    assert answer.json()["errors"][0]["code"] == "unknown_field"


@pytest.mark.parametrize("path", ["status", "logs"])
def test_an_unknown_deploy_is_not_found(db: None, path: str) -> None:
    answer = caller().get(f"/v1/deploy/{path}/deploy-9")

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "deploy_not_found"


@pytest.fixture
def many(db: None) -> list[Operation]:
    """deploy-1 pending, deploy-2 in progress, deploy-3 completed, deploy-4 failed."""
    node, service = make_node(), make_service()
    make_service("other")
    deploys = [
        start([instance], deploy_id=f"deploy-{number}", version=f"v{number}")
        for number, instance in enumerate(make_instances(service, node, count=4), start=1)
    ]
    deploys[1].targets.update(status="in_progress")
    finish(deploys[2])
    finish(deploys[3], "failed")
    return deploys


def listed(query: str) -> list[str]:
    return [deploy["deploy_id"] for deploy in get(f"/v1/deploy/list{query}")["deploys"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["deploy-4", "deploy-3", "deploy-2", "deploy-1"]),
        ("?status=pending", ["deploy-1"]),
        ("?status=in_progress", ["deploy-2"]),
        ("?status=completed", ["deploy-3"]),
        ("?status=failed", ["deploy-4"]),
        ("?status=cancelled", []),
        ("?version=v2", ["deploy-2"]),
        ("?service=user-service&status=failed", ["deploy-4"]),
        ("?service=other", []),
        ("?service=unknown", []),
    ],
)
def test_the_list_is_newest_first_and_filtered(many: list[Operation], query: str, expected: list[str]) -> None:
    assert listed(query) == expected


def test_the_list_shows_a_status_without_its_instances(many: list[Operation]) -> None:
    for deploy in get("/v1/deploy/list")["deploys"]:
        status = get(f"/v1/deploy/status/{deploy['deploy_id']}")
        del status["instances"]
        assert deploy == status


def test_the_list_goes_on_from_its_cursor(many: list[Operation]) -> None:
    first = get("/v1/deploy/list?limit=3")
    second = get(f"/v1/deploy/list?limit=3&cursor={first['next']}")

    assert [len(first["deploys"]), len(second["deploys"])] == [3, 1]
    assert second["deploys"][0]["deploy_id"] == "deploy-1"
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "attr"),
    [("?status=done", "status"), ("?cursor=x", "cursor"), ("?limit=0", "limit"), ("?stauts=failed", "stauts")],
)
def test_a_bad_filter_is_refused_by_name(db: None, query: str, attr: str) -> None:
    answer = caller().get(f"/v1/deploy/list{query}")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["attr"] == attr


@pytest.fixture
def log(deploy: Operation) -> Operation:
    first, second, _ = Instance.objects.all()
    for seq, instance, text in [(1, None, "fetching"), (2, first, "a"), (3, second, "b"), (4, first, "c")]:
        LogLine.objects.create(operation=deploy, seq=seq, instance=instance, at=AT, step="restart", text=text)
    return deploy


def test_the_log_comes_line_by_line_after_a_cursor(log: Operation) -> None:
    answer = get("/v1/deploy/logs/deploy-12345?after=2")

    assert answer == {
        "lines": [
            {
                "cursor": "3",
                "at": AT,
                "instance_id": "instance-2",
                "step": "restart",
                "stream": "system",
                "text": "b",
            },
            {
                "cursor": "4",
                "at": AT,
                "instance_id": "instance-1",
                "step": "restart",
                "stream": "system",
                "text": "c",
            },
        ],
        "next": "4",
        "finished": False,
        "lines_deleted": 0,
    }


def test_the_log_of_one_instance(log: Operation) -> None:
    answer = get("/v1/deploy/logs/deploy-12345?instance=instance-1")

    assert [line["text"] for line in answer["lines"]] == ["a", "c"]


def test_the_log_of_an_instance_outside_the_deploy_is_not_found(log: Operation) -> None:
    answer = caller().get("/v1/deploy/logs/deploy-12345?instance=instance-9")

    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (404, "instance")


def test_the_log_is_finished_once_its_last_line_is_read(log: Operation) -> None:
    finish(log)

    full_page = get("/v1/deploy/logs/deploy-12345?limit=4")
    assert full_page["finished"] is False
    assert get(f"/v1/deploy/logs/deploy-12345?after={full_page['next']}") == {
        "lines": [], "next": "4", "finished": True, "lines_deleted": 0
    }  # fmt: skip


@pytest.mark.parametrize("path", ["status/deploy-12345", "list", "logs/deploy-12345"])
def test_the_number_of_queries_does_not_grow(deploy: Operation, path: str) -> None:
    client = caller("read")
    few = queries(client, path)
    more = make_instances(deploy.service, make_node("node-2"), count=20, prefix="more")
    start(more[:10], deploy_id="deploy-2")
    deploy.total += 10
    deploy.targets.bulk_create(
        [deploy.targets.model(operation=deploy, instance=instance, kind="deploy") for instance in more[10:]]
    )

    assert queries(client, path) == few
    assert few <= 5


def queries(client: Any, path: str) -> int:
    client.get(f"/v1/deploy/{path}")
    with CaptureQueriesContext(connection) as captured:
        assert client.get(f"/v1/deploy/{path}").status_code == 200
    return len(captured)
