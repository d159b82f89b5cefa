from __future__ import annotations

from typing import Any

import pytest

from deploys.models import Operation
from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service

DOCUMENT = {
    "service": "user-service",
    "version": "v1.2.3",
    "instances": ["instance-1", "instance-2", "instance-3"],
    "package_url": "https://packages.example.com/user-service/v1.2.3.tar.gz",
    "deploy_id": "deploy-12345",
}


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    return make_instances(make_service(), make_node())


def execute(body: Any, **changes: Any) -> Any:
    return caller().post("/v1/deploy/execute", {**body, **changes} if isinstance(body, dict) else body, format="json")


def problems(answer: Any) -> list[tuple[str | None, str]]:
    assert answer.json()["type"] == ("validation_error" if answer.status_code == 400 else "client_error")
    return [(error["attr"], error["code"]) for error in answer.json()["errors"]]


def test_the_design_documents_request_gets_its_answer(fleet: list[Instance]) -> None:
    answer = execute(DOCUMENT)

    assert answer.status_code == 202
    started_at = Operation.objects.get().started_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert answer.json() == {
        "deploy_id": "deploy-12345",
        "status": "started",
        "message": "deployment started successfully",
        "started_at": started_at,
    }


def test_the_same_request_again_gets_the_same_answer(fleet: list[Instance]) -> None:
    first, second = execute(DOCUMENT), execute(DOCUMENT)

    assert (second.status_code, second.json()) == (202, first.json())
    assert Operation.objects.count() == 1


def test_the_id_with_another_request_is_a_conflict(fleet: list[Instance]) -> None:
    execute(DOCUMENT)

    answer = execute(DOCUMENT, version="v1.2.4")

    assert answer.status_code == 409
    assert problems(answer) == [("deploy_id", "deploy_id_reused")]


def test_every_busy_instance_is_named_with_its_holder(fleet: list[Instance]) -> None:
    execute(DOCUMENT)

    answer = execute(DOCUMENT, deploy_id="deploy-2", instances=["instance-1", "instance-2"])

    assert answer.status_code == 409
    assert problems(answer) == [("instances", "instance_busy")] * 2
    assert "deploy-12345" in answer.json()["errors"][0]["detail"]


def test_left_out_an_id_is_made(fleet: list[Instance]) -> None:
    body = {key: value for key, value in DOCUMENT.items() if key != "deploy_id"}

    answer = execute(body)

    assert answer.json()["deploy_id"] == Operation.objects.get().public_id


def test_the_optional_keys_reach_the_operation(fleet: list[Instance]) -> None:
    execute(DOCUMENT, sha256="A" * 64, reason="hotfix\n")

    operation = Operation.objects.get()
    assert (operation.requested_sha256, operation.reason) == ("a" * 64, "hotfix\n")
    assert operation.requested_by == "scheduler"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"service": 1}, ("service", "invalid")),
        ({"service": None}, ("service", "null")),
        ({"service": ""}, ("service", "blank")),
        ({"service": "a b"}, ("service", "invalid_name")),
        ({"version": True}, ("version", "invalid")),
        ({"version": "v1\n"}, ("version", "invalid_name")),
        ({"version": " v1"}, ("version", "invalid_name")),
        ({"version": "current"}, ("version", "invalid_name")),
        ({"version": "v1.tmp"}, ("version", "invalid_name")),
        ({"version": "../v1"}, ("version", "invalid_name")),
        ({"version": "v" * 101}, ("version", "invalid_name")),
        ({"instances": "instance-1"}, ("instances", "not_a_list")),
        ({"instances": {"0": "instance-1"}}, ("instances", "not_a_list")),
        ({"instances": []}, ("instances", "empty")),
        ({"instances": ["instance-1"] * 10_001}, ("instances", "too_many")),
        ({"instances": ["instance-1", 2]}, ("instances.1", "invalid_name")),
        ({"instances": ["instance-1", "instance-1"]}, ("instances", "duplicate_instance")),
        ({"instances": ["instance-1", "instance-9"]}, ("instances", "instance_not_found")),
        ({"package_url": "packages.example.com/x"}, ("package_url", "invalid_url")),
        ({"package_url": "file:///etc/passwd"}, ("package_url", "invalid_url")),
        ({"package_url": "ftp://p/x"}, ("package_url", "invalid_url")),
        ({"package_url": "http:///x"}, ("package_url", "invalid_url")),
        ({"package_url": "http://p:99999/x"}, ("package_url", "invalid_url")),
        ({"package_url": "http://p/a b"}, ("package_url", "invalid_url")),
        ({"package_url": "http://p\\@q/x"}, ("package_url", "invalid_url")),
        ({"package_url": "http://p/\r\nHost: q"}, ("package_url", "invalid_url")),
        ({"package_url": "http://p/" + "x" * 2000}, ("package_url", "invalid_url")),
        ({"deploy_id": ""}, ("deploy_id", "blank")),
        ({"deploy_id": None}, ("deploy_id", "null")),
        ({"deploy_id": "a/b"}, ("deploy_id", "invalid_id")),
        ({"deploy_id": "a\n"}, ("deploy_id", "invalid_id")),
        ({"deploy_id": "a" * 201}, ("deploy_id", "invalid_id")),
        ({"sha256": "abc"}, ("sha256", "invalid_sha256")),
        ({"reason": "a\x00b"}, ("reason", "null_characters_not_allowed")),
        ({"reason": "x" * 1001}, ("reason", "max_length")),
        ({"instance": ["instance-1"]}, ("instance", "unknown_field")),
    ],
)
def test_a_bad_value_is_refused_by_name_and_nothing_changes(
    fleet: list[Instance], changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    answer = execute(DOCUMENT, **changes)

    assert answer.status_code == 400
    assert problems(answer) == [expected]
    assert not Operation.objects.exists()


def test_everything_that_is_missing_is_named(fleet: list[Instance]) -> None:
    answer = execute({})

    assert problems(answer) == [(key, "required") for key in ("service", "version", "instances", "package_url")]


@pytest.mark.parametrize("body", ["[]", "3", "null", '"x"'])
def test_a_body_that_is_no_object_is_refused(fleet: list[Instance], body: str) -> None:
    answer = caller().post("/v1/deploy/execute", body, content_type="application/json")

    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"service": "\\ud800"}', b'{"version": NaN}', b"[" * 5000])
def test_a_body_that_is_no_json_is_refused(fleet: list[Instance], body: bytes) -> None:
    answer = caller().post("/v1/deploy/execute", body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] in {"parse_error", "required"}


def test_another_content_type_is_refused(fleet: list[Instance]) -> None:
    answer = caller().post(
        "/v1/deploy/execute", "service=user-service", content_type="application/x-www-form-urlencoded"
    )

    assert answer.status_code == 415


def test_a_huge_body_is_refused(fleet: list[Instance]) -> None:
    body = b'{"reason": "' + b"x" * 5_000_000 + b'"}'

    answer = caller().post("/v1/deploy/execute", body, content_type="application/json")

    assert answer.status_code == 413


def test_an_unknown_service_is_not_found(fleet: list[Instance]) -> None:
    answer = execute(DOCUMENT, service="no-service")

    assert answer.status_code == 404
    assert problems(answer) == [("service", "service_not_found")]


def test_a_host_that_is_not_allowed_is_no_bad_request(fleet: list[Instance]) -> None:
    assert execute(DOCUMENT, package_url="http://169.254.169.254/x").status_code == 202


@pytest.mark.parametrize("until", ["checked", "staged", "switched"])
def test_how_far_is_told_and_part_of_the_request(fleet: list[Instance], until: str) -> None:
    assert execute(DOCUMENT, until=until).status_code == 202

    assert caller().get("/v1/deploy/status/deploy-12345").json()["until"] == until
    assert [deploy["until"] for deploy in caller().get("/v1/deploy/list").json()["deploys"]] == [until]
    assert execute(DOCUMENT, until=until).status_code == 202
    answers = {other: execute(DOCUMENT, until=other) for other in ("checked", "staged", "switched") if other != until}
    assert {other: problems(answer) for other, answer in answers.items()} == {
        other: [("deploy_id", "deploy_id_reused")] for other in answers
    }


def test_to_switch_is_what_leaving_it_out_means(fleet: list[Instance]) -> None:
    first = execute(DOCUMENT)

    assert execute(DOCUMENT, until="switched").json() == first.json()


@pytest.mark.parametrize("until", ["", "stage", "SWITCHED", None, True, 1, ["staged"], {}])
def test_any_other_way_to_go_is_refused(fleet: list[Instance], until: object) -> None:
    answer = execute(DOCUMENT, until=until)

    assert answer.status_code == 400
    assert [attr for attr, _code in problems(answer)] == ["until"]
    assert not Operation.objects.exists()
