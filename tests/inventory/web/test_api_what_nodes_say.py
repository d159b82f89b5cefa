from __future__ import annotations

from typing import Any

import pytest

from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service


@pytest.fixture(autouse=True)
def fleet(db: None) -> list[Instance]:
    return make_instances(make_service(), make_node())


def report(**body: Any) -> Any:
    return caller("report").post("/v1/instance/instance-1/report", body, format="json")


def test_a_report_is_answered_with_what_is_recorded() -> None:
    answer = report(version="v1", status="running", health="healthy")

    assert answer.status_code == 200
    assert answer.json() == {"instance_id": "instance-1", "version": "v1", "status": "running", "health": "healthy"}


@pytest.mark.parametrize(
    ("body", "attr", "code"),
    [
        ({}, "non_field_errors", "empty"),
        ({"status": "deploying"}, "status", "invalid_choice"),
        ({"health": True}, "health", "invalid_choice"),
        ({"version": 1}, "version", "invalid"),
        ({"version": "current"}, "version", "invalid_name"),
        ({"heatlh": "healthy"}, "heatlh", "unknown_field"),
    ],
)
def test_a_bad_report_is_refused_by_name(body: dict[str, Any], attr: str, code: str) -> None:
    answer = report(**body)

    assert answer.status_code == 400
    assert [(error["attr"], error["code"]) for error in answer.json()["errors"]] == [(attr, code)]


def test_a_sync_is_accepted() -> None:
    answer = caller().post("/v1/service/user-service/sync")

    assert answer.status_code == 202
    assert answer.json() == {
        "service": "user-service",
        "status": "started",
        "message": "the versions are being read from the nodes",
    }


def test_a_sync_of_an_unknown_service_is_not_found() -> None:
    assert caller().post("/v1/service/unknown/sync").status_code == 404
