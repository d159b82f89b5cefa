"""The OpenAPI document tells the truth: what the API answers fits it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from deploys.error_codes import ErrorCode
from deploys.models import LogLine, Operation, Package
from deploys.operations.start import DeployRequest, start_deploy
from inventory.models import Instance, StatusChange
from releasesite.api.examples import ANSWERS, REQUESTS
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.api import caller, logged_in, person
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service


@pytest.fixture
def document(db: None) -> dict[str, Any]:
    document: dict[str, Any] = caller("read").get("/v1/schema").json()
    return document


@pytest.fixture
def world(db: None) -> list[Instance]:
    service = make_service()
    instances = make_instances(service, make_node())
    Package.objects.create(service=service, version="v1", release="v1", sha256="1" * 64, size_bytes=1, url="http://p/")
    deploy = start_deploy(
        access=SCHEDULER,
        request=DeployRequest(
            service="user-service", version="v2", instances=("instance-1",), package_url="http://p/x", deploy_id="d"
        ),
    )
    start_instance_rollback(
        access=SCHEDULER,
        request=InstanceRollbackRequest(instance_id="instance-2", target_version="v1", rollback_id="r"),
    )
    deploy.targets.update(
        status="failed", finished_at=deploy.started_at, error_code=ErrorCode.NODE_DISK_FULL, error_message="y"
    )
    Operation.objects.filter(pk=deploy.pk).update(status="failed", failed=1, finished_at=deploy.started_at)
    LogLine.objects.create(operation=deploy, seq=1, at=deploy.started_at, text="a")
    StatusChange.objects.create(instance=instances[0], field="version", new="b", actor_kind="node", actor_name="n")
    return instances


GETS = {
    "/v1/deploy/status/{deploy_id}": "/v1/deploy/status/d",
    "/v1/deploy/list": "/v1/deploy/list",
    "/v1/deploy/logs/{deploy_id}": "/v1/deploy/logs/d",
    "/v1/rollback/status/{rollback_id}": "/v1/rollback/status/r",
    "/v1/rollback/list": "/v1/rollback/list",
    "/v1/rollback/logs/{rollback_id}": "/v1/rollback/logs/r",
    "/v1/service/{service_name}/instances": "/v1/service/user-service/instances",
    "/v1/service/{service_name}/instances/versions": "/v1/service/user-service/instances/versions",
    "/v1/instance/{instance_id}/history": "/v1/instance/instance-1/history",
    "/v1/service/{service_name}/hold": "/v1/service/user-service/hold",
    "/v1/inventory": "/v1/inventory",
}


def closed(node: Any) -> Any:
    """Every object schema with no room for keys it does not name."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: closed(value) for key, value in node.items()}
    return {"additionalProperties": False, **inner} if "properties" in inner else inner


def validate(document: dict[str, Any], schema: dict[str, Any], answer: Any) -> None:
    Draft202012Validator({**closed(schema), "components": closed(document["components"])}).validate(answer)


@pytest.mark.parametrize("path", GETS)
def test_every_answer_has_the_keys_that_the_document_names(
    world: list[Instance], document: dict[str, Any], path: str
) -> None:
    answer = caller("inventory").get(GETS[path])

    schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    validate(document, schema, answer.json())


def test_every_get_of_the_document_is_tried(document: dict[str, Any]) -> None:
    assert {path for path, calls in document["paths"].items() if "get" in calls} == set(GETS)


@pytest.mark.parametrize(
    ("path", "call", "body"),
    [
        ("/v1/deploy/execute", "/v1/deploy/execute",
         {"service": "user-service", "version": "v3", "instances": ["instance-3"], "package_url": "http://p/x"}),
        ("/v1/rollback/instance", "/v1/rollback/instance", {"instance_id": "instance-3", "target_version": "v1"}),
        ("/v1/rollback/batch", "/v1/rollback/batch",
         {"service": "user-service", "target_version": "v1", "instances": ["instance-3"]}),
        ("/v1/deploy/retry/{deploy_id}", "/v1/deploy/retry/d", {}),
        ("/v1/rollback/cancel/{rollback_id}", "/v1/rollback/cancel/r", {}),
    ],
)  # fmt: skip
def test_every_write_is_answered_as_documented(
    world: list[Instance], document: dict[str, Any], path: str, call: str, body: dict[str, Any]
) -> None:
    answer = caller().post(call, body, format="json")

    assert answer.status_code == 202
    schema = document["paths"][path]["post"]["responses"]["202"]["content"]["application/json"]["schema"]
    validate(document, schema, answer.json())


def test_an_inventory_that_is_put_is_answered_as_documented(world: list[Instance], document: dict[str, Any]) -> None:
    body = {"services": [{"name": "user-service", "keep_releases": 7}, {"name": "new"}]}
    answers = document["paths"]["/v1/inventory"]["put"]["responses"]

    for sent, status in ((body, 200), ({"services": [{"name": "new", "colour": "red"}, 7]}, 400)):
        answer = caller("inventory").put("/v1/inventory", sent, format="json")

        assert answer.status_code == status
        validate(document, answers[str(status)]["content"]["application/json"]["schema"], answer.json())


def calls_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            yield path, method, call


def test_every_call_documents_its_failures(document: dict[str, Any]) -> None:
    for _, method, call in calls_of(document):
        wanted = {"401", "403", "404", "429", "503"} | ({"400", "413", "415"} if method in ("post", "put") else set())
        assert wanted <= set(call["responses"])


def codes(document: dict[str, Any], call: dict[str, Any], status: str) -> list[str]:
    name = call["responses"][status]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    error = document["components"]["schemas"][name]["properties"]["errors"]["items"]
    found: list[str] = error["properties"]["code"]["enum"]
    return found


def test_every_refusal_enumerates_its_codes(document: dict[str, Any]) -> None:
    calls = list(calls_of(document))
    for _, _, call in calls:
        assert all(codes(document, call, status) for status in call["responses"] if status >= "400")

    execute = document["paths"]["/v1/deploy/execute"]["post"]
    assert {"deploy_id_reused", "instance_busy"} <= set(codes(document, execute, "409"))
    assert {"instance_not_found", "invalid_sha256", "unknown_field", "parse_error"} <= set(
        codes(document, execute, "400")
    )
    assert codes(document, execute, "404") == ["not_found", "service_not_found"]


def test_every_call_has_a_name_of_its_own_a_summary_and_a_tag(document: dict[str, Any]) -> None:
    calls = list(calls_of(document))

    names = [call["operationId"] for _, _, call in calls]
    assert len(set(names)) == len(names)
    for path, method, call in calls:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", call["operationId"])
        assert not call["operationId"].endswith(("_create", "_retrieve", "_update", "_destroy")), f"{method} {path}"
        assert call["summary"]
        assert call["tags"]


def test_every_example_of_the_design_document_is_what_is_documented(document: dict[str, Any]) -> None:
    calls = {call["operationId"]: call for _, _, call in calls_of(document)}
    assert {*REQUESTS, *ANSWERS} <= set(calls)
    for name in REQUESTS:
        body = calls[name]["requestBody"]["content"]["application/json"]
        validate(document, body["schema"], body["example"])
    for name in ANSWERS:
        status = next(status for status in calls[name]["responses"] if status < "300")
        body = calls[name]["responses"][status]["content"]["application/json"]
        validate(document, body["schema"], body["example"])


def test_the_document_says_where_it_is_served(document: dict[str, Any]) -> None:
    assert [server["url"] for server in document["servers"]] == ["/"]
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for _, _, call in calls_of(document) for tag in call["tags"]} <= tags


def test_requests_are_documented_as_strict(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for name in ("Execute", "InstanceRollback", "BatchRollback", "InventoryDocument", "ServiceEntry", "InstanceEntry"):
        assert document["components"]["schemas"][name]["additionalProperties"] is False


def test_the_page_has_nothing_inline_and_no_foreign_asset(db: None) -> None:
    answer = logged_in(person("viewer")).get("/v1/docs")

    page = answer.content.decode()
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<style" not in page
    assert "style=" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert all(url.startswith(("/", "#")) for url in re.findall(r'(?:src|href)="([^"]+)"', page))


def test_the_page_brings_its_own_script(db: None) -> None:
    answer = logged_in(person("viewer")).get("/v1/docs?script=")

    assert answer.headers["Content-Type"].startswith("application/javascript")
    assert b"/v1/schema" in answer.content


def test_a_stranger_is_sent_to_the_login(db: None, client: Any) -> None:
    answer = client.get("/v1/docs")

    assert answer.headers["Location"] == "/login?next=%2Fv1%2Fdocs"
