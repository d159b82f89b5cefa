"""`/v1/service/{name}/hold`, and the rollbacks that hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deploys.models import Hold, Operation, Package, Target
from deploys.states import Kind, TargetStatus
from inventory.models import AuditEntry, Instance, Service
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service

HOLD = "/v1/service/user-service/hold"
NOT_HELD = {"service": "user-service", "held": False, "reason": None, "held_by": None, "held_at": None, "until": None}
DEPLOY = {"service": "user-service", "version": "v2", "instances": ["instance-1"], "package_url": "http://p/v2"}


@pytest.fixture
def service(db: None) -> Service:
    service = make_service()
    make_instances(service, make_node())
    Instance.objects.update(running_version="v1", expected_version="v1", running_sha256="1" * 64)
    Package.objects.create(service=service, version="v0", release="v0", sha256="0" * 64, size_bytes=1, url="http://p/")
    return service


def hold(**body: Any) -> Any:
    return caller().put(HOLD, {"reason": "Payments time out", **body})


def problems(answer: Any) -> list[tuple[str | None, str]]:
    return [(error["attr"], error["code"]) for error in answer.json()["errors"]]


def test_holding_twice_and_releasing_twice(service: Service) -> None:
    first, again = hold(until="2999-01-15T11:30:00+01:00"), hold(reason="Another")

    held_at = Hold.objects.get().held_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (first.status_code, first.json()) == (200, {
        "service": "user-service",
        "held": True,
        "reason": "Payments time out",
        "held_by": "scheduler",
        "held_at": held_at,
        "until": "2999-01-15T10:30:00Z",
    })  # fmt: skip
    for answer in (again, caller("read").get(HOLD)):
        assert (answer.status_code, answer.json()) == (200, first.json())
    for answer in (caller().delete(HOLD), caller().delete(HOLD), caller("read").get(HOLD)):
        assert (answer.status_code, answer.json()) == (200, NOT_HELD)


def test_a_deploy_and_its_retry_are_refused_with_the_facts_as_keys(service: Service) -> None:
    caller().post("/v1/deploy/execute", {**DEPLOY, "deploy_id": "deploy-1"})
    Target.objects.update(status=TargetStatus.FAILED, finished_at=timezone.now())
    held = hold().json()

    for answer in (caller().post("/v1/deploy/execute", DEPLOY), caller().post("/v1/deploy/retry/deploy-1")):
        error = answer.json()["errors"][0]
        assert (answer.status_code, error["code"], error["attr"]) == (409, "service_held", "service")
        assert {key: error[key] for key in ("reason", "held_by", "held_at", "until")} == {
            key: held[key] for key in ("reason", "held_by", "held_at", "until")
        }
        assert "scheduler" in error["detail"]
        assert "Payments time out" in error["detail"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, [("reason", "required")]),
        ({"reason": ""}, [("reason", "blank")]),
        ({"reason": " \n"}, [("reason", "blank")]),
        ({"reason": None}, [("reason", "null")]),
        ({"reason": 1}, [("reason", "invalid")]),
        ({"reason": ["x"]}, [("reason", "invalid")]),
        ({"reason": "x" * 1001}, [("reason", "max_length")]),
        ({"reason": "x\x00"}, [("reason", "null_characters_not_allowed")]),
        ({"reason": "x", "until": 1}, [("until", "invalid")]),
        ({"reason": "x", "until": True}, [("until", "invalid")]),
        ({"reason": "x", "until": "tomorrow"}, [("until", "invalid")]),
        ({"reason": "x", "until": "2999-01-15"}, [("until", "no_offset")]),
        ({"reason": "x", "until": "2999-01-15T10:30:00"}, [("until", "no_offset")]),
        ({"reason": "x", "until": "9999-12-31T23:59:59-23:59"}, [("until", "overflow")]),
        ({"reason": "x", "until": "2024-01-15T10:30:00Z"}, [("until", "until_in_past")]),
        ({"until": "1 h", "reson": "x"}, [("reason", "required"), ("reson", "unknown_field"), ("until", "invalid")]),
        ([], [("non_field_errors", "invalid")]),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_naming_what_is_at_fault(service: Service, body: Any, found: list[Any]) -> None:
    answer = caller().put(HOLD, body)

    assert answer.status_code == 400
    assert sorted(problems(answer), key=str) == sorted(found, key=str)
    assert not Hold.objects.exists()


def test_until_null_is_until_it_is_released(service: Service) -> None:
    assert hold(until=None).json()["until"] is None


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_service_that_is_unknown_or_not_the_callers_is_not_found(service: Service, method: str) -> None:
    limited = caller("deploy", [make_service("other")])

    for client, path in ((limited, HOLD), (caller(), "/v1/service/nobody/hold")):
        answer = getattr(client, method)(path, {"reason": "x"})
        assert (answer.status_code, problems(answer)) == (404, [("service", "service_not_found")])
    assert not Hold.objects.exists()


def test_who_may_only_read_holds_and_releases_nothing(service: Service) -> None:
    answers = [caller("read").put(HOLD, {"reason": "x"}), caller("read").delete(HOLD), caller("report").get(HOLD)]

    assert [(answer.status_code, *problems(answer)) for answer in answers] == [(403, (None, "scope_missing"))] * 3


ROLLBACKS: dict[str, dict[str, Any]] = {
    "instance": {"instance_id": "instance-1", "target_version": "v0"},
    "batch": {"service": "user-service", "target_version": "v0", "instances": ["instance-1"]},
}


@pytest.mark.parametrize("kind", ROLLBACKS)
def test_a_rollback_that_holds_keeps_deploys_out_from_its_answer_on(service: Service, kind: str) -> None:
    caller().post("/v1/deploy/execute", {**DEPLOY, "deploy_id": "d-1"})
    caller().post("/v1/deploy/execute", {**DEPLOY, "deploy_id": "d-2", "instances": ["instance-2"]})

    answer = caller().post(f"/v1/rollback/{kind}", {**ROLLBACKS[kind], "hold": True, "reason": "p99 at 9 s"})

    assert answer.status_code == 202
    assert caller().get(HOLD).json()["reason"] == "p99 at 9 s"
    assert problems(caller().post("/v1/deploy/execute", {**DEPLOY, "instances": ["instance-3"]})) == [
        ("service", "service_held")
    ]
    messages = dict(Target.objects.filter(kind=Kind.DEPLOY).values_list("operation__public_id", "error_message"))
    assert answer.json()["rollback_id"] in messages["d-1"]
    assert "p99 at 9 s" in messages["d-2"]
    assert set(Target.objects.filter(kind=Kind.DEPLOY).values_list("status", flat=True)) == {TargetStatus.SUPERSEDED}


@pytest.mark.parametrize("kind", ROLLBACKS)
def test_a_rollback_sent_twice_holds_once(service: Service, kind: str) -> None:
    body = {**ROLLBACKS[kind], "rollback_id": "r-1", "hold": True}
    first = caller().post(f"/v1/rollback/{kind}", body)
    caller().delete(HOLD)

    again = caller().post(f"/v1/rollback/{kind}", body)
    without = caller().post(f"/v1/rollback/{kind}", {**body, "hold": False})

    assert (again.status_code, again.json()) == (202, first.json())
    assert caller().get(HOLD).json() == NOT_HELD
    assert (without.status_code, problems(without)) == (409, [("rollback_id", "rollback_id_reused")])
    assert AuditEntry.objects.filter(action="service.hold").count() == 1


@pytest.mark.parametrize("kind", ROLLBACKS)
@pytest.mark.parametrize("said", ["true", 1, None, [True]])
def test_hold_is_true_or_false(service: Service, kind: str, said: Any) -> None:
    answer = caller().post(f"/v1/rollback/{kind}", {**ROLLBACKS[kind], "hold": said})

    assert (answer.status_code, [attr for attr, _ in problems(answer)]) == (400, ["hold"])
    assert not Operation.objects.exists()


def test_a_rollback_that_is_refused_holds_nothing(service: Service) -> None:
    caller().post("/v1/rollback/batch", ROLLBACKS["batch"])

    answer = caller().post("/v1/rollback/batch", {**ROLLBACKS["batch"], "hold": True})

    assert problems(answer) == [("instances", "instance_busy")]
    assert caller().get(HOLD).json() == NOT_HELD


def test_a_rollback_of_a_held_service_passes_and_leaves_its_hold(service: Service) -> None:
    held = hold().json()

    assert caller().post("/v1/rollback/batch", {**ROLLBACKS["batch"], "hold": True}).status_code == 202
    assert caller().get(HOLD).json() == held


def test_a_hold_ends_by_itself(service: Service) -> None:
    hold(until="2999-01-15T10:30:00Z")
    Hold.objects.update(until=timezone.now() - timedelta(seconds=1))

    assert caller().get(HOLD).json() == NOT_HELD
    assert caller().post("/v1/deploy/execute", DEPLOY).status_code == 202
