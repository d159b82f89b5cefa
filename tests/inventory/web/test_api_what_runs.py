from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deploys.models import Package
from deploys.operations.start import DeployRequest, start_deploy
from inventory.drift import DRIFTED, DRIFTED_AS, Drift
from inventory.models import Instance, StatusChange
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service

NOTHING_BESIDE = {"expected_version": None, "process_version": None, "drift": None}
AT = datetime(2024, 1, 15, 10, 31, tzinfo=UTC)


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    instances = make_instances(make_service(), make_node(host="192.168.1.10"))
    Instance.objects.update(running_version="v1.2.3", run_status="running", changed_at=AT)
    Instance.objects.filter(instance_id="instance-2").update(running_version="v1.2.2", health="healthy")
    Instance.objects.filter(instance_id="instance-3").update(running_version="", run_status="unknown")
    return instances


def get(path: str) -> Any:
    answer = caller("read").get(path)
    assert answer.status_code == 200, answer.content
    return answer.json()


def versions() -> dict[str, str]:
    answer = get("/v1/service/user-service/instances/versions")
    return {instance["instance_id"]: instance["status"] for instance in answer["instances"]}


def test_versions_are_answered_as_in_the_design_document(fleet: list[Instance]) -> None:
    at = "2024-01-15T10:31:00Z"
    assert get("/v1/service/user-service/instances/versions") == {
        "service": "user-service",
        "instances": [
            {
                "instance_id": "instance-1",
                "version": "v1.2.3",
                "status": "running",
                "last_updated": at,
                **NOTHING_BESIDE,
            },
            {
                "instance_id": "instance-2",
                "version": "v1.2.2",
                "status": "running",
                "last_updated": at,
                **NOTHING_BESIDE,
            },
            {"instance_id": "instance-3", "version": None, "status": "unknown", "last_updated": at, **NOTHING_BESIDE},
        ],
        "version_summary": {"v1.2.3": 1, "v1.2.2": 1},
    }


def test_instances_are_answered_as_in_the_design_document(fleet: list[Instance]) -> None:
    answer = get("/v1/service/user-service/instances")

    assert answer["service"] == "user-service"
    assert answer["total"] == 3
    assert answer["instances"][1] == {
        "instance_id": "instance-2",
        "host": "192.168.1.10",
        "port": 8002,
        "status": "healthy",
        "version": "v1.2.2",
        **NOTHING_BESIDE,
    }


DRIFTS = {
    "instance-1": ("v1", "v1", "v1", None),
    "instance-2": ("v2", "v1", "", "link"),
    "instance-3": ("v1", "v1", "v0", "process"),
    "instance-4": ("v2", "v1", "v1", "link"),
    "instance-5": ("v1", "", "v0", "process"),
    "instance-6": ("", "", "", None),
    "instance-7": ("", "v1", "v1", "link"),
}


def test_drift_is_told_as_link_or_process_and_found_by_the_same_rule(fleet: list[Instance]) -> None:
    make_instances(fleet[0].service, make_node("node-2"), count=4, prefix="more")
    for (name, (running, expected, process, _drift)), instance in zip(
        DRIFTS.items(), Instance.objects.all(), strict=True
    ):
        instance.instance_id = name
        instance.running_version, instance.expected_version, instance.process_version = running, expected, process
        instance.save()

    for path in ("instances", "instances/versions"):
        answered = {
            each["instance_id"]: (each["version"], each["expected_version"], each["process_version"], each["drift"])
            for each in get(f"/v1/service/user-service/{path}")["instances"]
        }
        assert answered == {name: tuple(value or None for value in values) for name, values in DRIFTS.items()}
    for drift in Drift:
        found = Instance.objects.filter(DRIFTED_AS[drift]).values_list("instance_id", flat=True)
        assert list(found) == [name for name, values in DRIFTS.items() if values[3] == drift]
    assert Instance.objects.filter(DRIFTED).count() == 5


def test_instances_come_in_natural_order(db: None) -> None:
    make_instances(make_service(), make_node(), count=11)

    expected = [f"instance-{number}" for number in range(1, 12)]
    assert [instance["instance_id"] for instance in get("/v1/service/user-service/instances")["instances"]] == expected
    assert list(versions()) == expected


def test_an_instance_in_an_unfinished_operation_is_deploying_or_rolling_back(fleet: list[Instance]) -> None:
    Package.objects.create(
        service=fleet[0].service, version="v1", release="v1", sha256="1" * 64, size_bytes=1, url="http://p/"
    )
    start_deploy(
        access=SCHEDULER,
        request=DeployRequest(
            service="user-service", version="v2", instances=("instance-1", "instance-2"), package_url="http://p/x"
        ),
    )
    fleet[1].targets.update(status="in_progress")
    start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-2", target_version="v1")
    )

    assert versions() == {"instance-1": "deploying", "instance-2": "rolling_back", "instance-3": "unknown"}


@pytest.mark.parametrize(("path", "number"), [("instances", 4), ("instances/versions", 5)])
def test_the_number_of_queries_does_not_grow(fleet: list[Instance], path: str, number: int) -> None:
    client = caller("read")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(f"/v1/service/user-service/{path}")
        return len(captured)

    queries()
    few = queries()
    make_instances(fleet[0].service, make_node("node-2"), count=30, prefix="more")

    assert queries() == few == number


@pytest.mark.parametrize("path", ["service/unknown/instances", "service/a%00b/instances", "instance/unknown/history"])
def test_what_is_unknown_is_not_found(db: None, path: str) -> None:
    answer = caller("read").get(f"/v1/{path}")

    assert answer.status_code == 404
    assert answer.json()["type"] == "client_error"


def test_history_is_newest_first_in_pages(fleet: list[Instance]) -> None:
    for number in range(1, 4):
        StatusChange.objects.create(
            instance=fleet[0],
            field="version",
            old=f"v{number - 1}",
            new=f"v{number}",
            at=AT,
            operation_name=f"deploy deploy-{number}",
            actor_kind="token",
            actor_name="scheduler",
        )
    StatusChange.objects.create(instance=fleet[1], field="version", old="a", new="b", actor_kind="node", actor_name="n")

    first = get("/v1/instance/instance-1/history?limit=2")
    second = get(f"/v1/instance/instance-1/history?limit=2&cursor={first['next']}")

    assert [change["new"] for change in first["changes"] + second["changes"]] == ["v3", "v2", "v1"]
    assert second["next"] is None
    assert first["changes"][0] == {
        "at": "2024-01-15T10:31:00Z",
        "field": "version",
        "old": "v2",
        "new": "v3",
        "operation": "deploy deploy-3",
        "attempt": 1,
        "by": "scheduler",
        "by_kind": "token",
        "note": "",
    }
