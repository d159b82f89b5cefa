from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from deploys.models import Operation, Target
from inventory.models import Instance
from inventory.security.access import Scope
from tests.deploys.web.test_api_starting_a_deploy import DOCUMENT, execute, problems
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    """They run v1."""
    fleet = make_instances(make_service(), make_node())
    Instance.objects.update(running_version="v1", running_release="v1")
    return fleet


def confirm(deploy_id: str = "deploy-12345", body: Any = None) -> Any:
    return caller().post(f"/v1/deploy/confirm/{deploy_id}", {} if body is None else body, format="json")


def wait(*instances: str, seconds: int = 60) -> None:
    """Their nodes wait to be confirmed."""
    Target.objects.filter(instance__instance_id__in=instances).update(
        status="in_progress", step="confirm", confirm_by=Now() + timedelta(seconds=seconds), ask_at=Now()
    )


def test_it_is_asked_for_and_told(fleet: list[Instance]) -> None:
    assert execute(DOCUMENT, confirm_within=600).status_code == 202
    wait("instance-1")
    status = caller().get("/v1/deploy/status/deploy-12345").json()
    assert status["confirm_within"] == 600
    assert [each["step"] for each in status["instances"]] == ["confirm", "queued", "queued"]
    until, *others = [each["confirm_by"] for each in status["instances"]]
    assert until.endswith("Z") and others == [None, None]


@pytest.mark.parametrize("within", [9, 3601, 0, -1, "600", 60.5, True, None, [60]])
def test_a_bad_time_is_named(fleet: list[Instance], within: Any) -> None:
    answer = execute(DOCUMENT, confirm_within=within)
    assert answer.status_code == 400
    assert {attr for attr, _ in problems(answer)} == {"confirm_within"}
    assert not Operation.objects.exists()


@pytest.mark.parametrize("until", ["checked", "staged"])
def test_what_is_not_switched_can_not_be_confirmed(fleet: list[Instance], until: str) -> None:
    answer = execute(DOCUMENT, confirm_within=60, until=until, instances=["instance-1", "nobody"])
    assert answer.status_code == 400
    assert problems(answer) == [
        ("confirm_within", "confirm_without_switch"),
        ("until", "confirm_without_switch"),
        ("instances", "instance_not_found"),
    ]
    assert not Operation.objects.exists()
    assert execute(DOCUMENT, confirm_within=60, until="switched").status_code == 202


def test_with_nothing_to_go_back_to_each_instance_is_named(fleet: list[Instance]) -> None:
    Instance.objects.filter(instance_id="instance-2").update(running_version="", running_release="")
    answer = execute(DOCUMENT, confirm_within=60)
    assert answer.status_code == 400
    assert [(each["code"], each["instance_id"]) for each in answer.json()["errors"]] == [
        ("nothing_to_revert_to", "instance-2")
    ]


def test_what_waits_is_confirmed(fleet: list[Instance]) -> None:
    execute(DOCUMENT, confirm_within=60)
    wait("instance-1", "instance-2")
    answer = confirm()
    assert (answer.status_code, answer.json()) == (
        202,
        {
            "deploy_id": "deploy-12345",
            "status": "confirmed",
            "message": "deploy confirmed",
            "instances": ["instance-1", "instance-2"],
        },
    )
    assert confirm(body={"instances": ["instance-2"]}).json()["instances"] == ["instance-2"]


def test_each_that_can_not_be_confirmed_is_named_and_nothing_is_changed(fleet: list[Instance]) -> None:
    execute(DOCUMENT, confirm_within=60)
    wait("instance-1")
    wait("instance-2", seconds=-1)
    answer = confirm(body={"instances": ["instance-1", "instance-2", "instance-3"]})
    assert answer.status_code == 409
    assert [(each["code"], each["instance_id"]) for each in answer.json()["errors"]] == [
        ("already_reverted", "instance-2"),
        ("not_waiting", "instance-3"),
    ]
    assert not Target.objects.exclude(confirmed_at=None).exists()


def test_bad_requests_get_clear_answers(fleet: list[Instance]) -> None:
    execute(DOCUMENT, confirm_within=60)
    assert problems(confirm("unknown")) == [(None, "deploy_not_found")]
    assert problems(confirm()) == [(None, "not_waiting")]
    assert problems(confirm(body={"instances": ["nobody"]})) == [("instances", "instance_not_found")]
    assert problems(confirm(body={"instances": []}))[0][0] == "instances"
    assert problems(confirm(body={"instance": "instance-1"})) == [("instance", "unknown_field")]
    others = make_service("other-service")
    limited = caller(services=[others]).post("/v1/deploy/confirm/deploy-12345", {}, format="json")
    assert limited.status_code == 404
    reader = caller(Scope.READ).post("/v1/deploy/confirm/deploy-12345", {}, format="json")
    assert reader.status_code == 403
