"""One answer names everything that is wrong with a request, and each instance at fault under a key of its own."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from deploys.models import Operation
from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service

DEPLOY = {
    "service": "user-service",
    "version": "v2",
    "instances": ["instance-1"],
    "package_url": "https://packages.example.com/v2.tar.gz",
}
BATCH = {"service": "user-service", "target_version": "v1", "instances": ["instance-1"]}


@pytest.fixture(autouse=True)
def fleet(db: None) -> list[Instance]:
    make_instances(make_service("other"), make_node("node-2"), count=1, prefix="stranger")
    return make_instances(make_service(), make_node())


def faults(path: str, body: dict[str, Any], **changes: Any) -> tuple[int, list[tuple[str, str, str | None]]]:
    answer = caller().post(path, {**body, **changes}, format="json")
    errors = answer.json()["errors"]
    return answer.status_code, [(error["attr"], error["code"], error.get("instance_id")) for error in errors]


UNKNOWN = [
    ("instances", "duplicate_instance", "instance-1"),
    ("instances", "instance_not_found", "instance-9"),
    ("instances", "instance_not_found", "stranger-1"),
]
NAMES = ["instance-1", "instance-9", "stranger-1", "instance-1"]


def test_a_deploy_names_double_unknown_and_foreign_instances_at_once() -> None:
    assert faults("/v1/deploy/execute", DEPLOY, instances=NAMES) == (400, UNKNOWN)


def test_a_deploy_names_them_beside_its_bad_values() -> None:
    status, found = faults(
        "/v1/deploy/execute", DEPLOY, instances=[*NAMES, "a b"], version="a b", sha256="x", verison=1
    )

    assert status == 400
    assert set(found) == {
        *UNKNOWN,
        ("instances.4", "invalid_name", None),
        ("version", "invalid_name", None),
        ("sha256", "invalid_sha256", None),
        ("verison", "unknown_field", None),
    }


def test_a_services_rules_about_packages_are_named_beside_the_instances(fleet: list[Instance]) -> None:
    service = fleet[0].service
    service.require_sha256 = True
    service.save()

    _, found = faults("/v1/deploy/execute", DEPLOY, instances=NAMES, signature="A" * 86 + "==")

    assert found == [*UNKNOWN, ("sha256", "sha256_required", None), ("signature", "signing_key_unset", None)]


def test_an_unknown_service_alone_is_404_and_beside_others_400() -> None:
    unknown = ("service", "service_not_found", None)

    assert faults("/v1/deploy/execute", DEPLOY, service="no-service") == (404, [unknown])
    assert faults("/v1/deploy/execute", DEPLOY, service="no-service", version=1) == (
        400,
        [("version", "invalid", None), unknown],
    )
    assert faults("/v1/rollback/batch", BATCH, service="no-service", target_version=1) == (
        400,
        [("target_version", "invalid", None), unknown],
    )


def test_a_service_of_another_callers_is_as_unknown_beside_a_bad_value() -> None:
    client = caller(services=[make_service("third")])

    answer = client.post("/v1/deploy/execute", {**DEPLOY, "version": 1}, format="json")

    assert [error["code"] for error in answer.json()["errors"]] == ["invalid", "service_not_found"]


def test_a_batch_rollback_names_the_instances_beside_the_package_and_its_bad_values() -> None:
    unknown_package = ("target_version", "package_unknown", None)
    none_runs = ("from_version", "no_instance_matches", None)

    assert faults("/v1/rollback/batch", BATCH, instances=NAMES) == (400, [*UNKNOWN, unknown_package])
    assert faults("/v1/rollback/batch", BATCH, instances=NAMES, from_version="v7") == (400, [*UNKNOWN, none_runs])
    assert faults("/v1/rollback/batch", BATCH, instances=NAMES, rollback_id="a b") == (
        400,
        [("rollback_id", "invalid_id", None), *UNKNOWN],
    )


def test_an_instance_rollback_names_its_unknown_instance_beside_bad_values() -> None:
    assert faults("/v1/rollback/instance", {"instance_id": "instance-9", "target_version": 1}) == (
        400,
        [("target_version", "invalid", None), ("instance_id", "instance_not_found", "instance-9")],
    )
    assert faults("/v1/rollback/instance", {"instance_id": "instance-1"}) == (
        400,
        [("target_version", "no_previous_version", "instance-1")],
    )
    assert not Operation.objects.exists()


def test_every_busy_instance_is_named_with_its_operation_in_keys_of_their_own() -> None:
    make_instances(
        Instance.objects.get(instance_id="instance-1").service, make_node("node-3"), count=300, prefix="more"
    )
    names = list(Instance.objects.exclude(instance_id="stranger-1").values_list("instance_id", flat=True))
    client = caller()
    client.post("/v1/deploy/execute", {**DEPLOY, "deploy_id": "first", "instances": names}, format="json")

    answer = client.post("/v1/deploy/execute", {**DEPLOY, "deploy_id": "next", "instances": names}, format="json")

    assert answer.status_code == 409
    errors = answer.json()["errors"]
    assert sorted(error["instance_id"] for error in errors) == sorted(names)
    for error in errors:
        held = {key: error[key] for key in ("code", "operation", "kind", "step")}
        assert held == {"code": "instance_busy", "operation": "first", "kind": "deploy", "step": "queued"}
        assert 0 <= error["age_seconds"] < 60
    small = client.post(
        "/v1/deploy/execute",
        {**DEPLOY, "deploy_id": "next", "instances": names},
        format="json",
        headers={"accept-encoding": "gzip"},
    )
    assert small.headers["Content-Encoding"] == "gzip"
    assert len(small.content) < len(answer.content) / 10
    assert len(json.loads(gzip.decompress(small.content))["errors"]) == len(names)
    # A sentence for the first hundred; a program reads the keys of the others.
    assert "Wait for it, or cancel it" in errors[0]["detail"]
    assert len(errors[-1]["detail"]) < 20
