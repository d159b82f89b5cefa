"""Trying a rollback of many instances again takes the password too: else a failed one would be a way around it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from deploys.models import Operation
from deploys.operations.start import DeployRequest, start_deploy
from inventory.models import AuditEntry, Service
from rollbacks.services import BatchRollbackRequest, start_batch_rollback
from tests.support.api import caller, person
from tests.support.fleet import SCHEDULER, ids

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("guarded_fleet")]

PASSWORD = "correct horse battery"
PAGE = "/rollbacks/r-1"
RETRY = f"{PAGE}/retry"


@pytest.fixture
def rollback(guarded_fleet: Service) -> Operation:
    wanted = BatchRollbackRequest(service=guarded_fleet.name, target_version="v1", rollback_id="r-1")
    return failed(start_batch_rollback(access=SCHEDULER, request=wanted))


def failed(operation: Operation, *, count: int = 3) -> Operation:
    """Its first `count` instances failed, the others did well."""
    ended = "2024-01-15T10:30:00Z"
    first = list(operation.targets.order_by("pk").values_list("pk", flat=True)[:count])
    operation.targets.filter(pk__in=first).update(status="failed", error_code="node_unreachable", finished_at=ended)
    operation.targets.exclude(pk__in=first).update(status="completed", finished_at=ended)
    Operation.objects.filter(pk=operation.pk).update(
        status="failed", failed=count, completed=operation.total - count, finished_at=ended
    )
    return operation


@pytest.fixture
def browser() -> Client:
    user = person("operator")
    user.set_password(PASSWORD)
    user.save()
    client = Client()
    client.force_login(user)
    return client


def attempts() -> Any:
    return Operation.objects.get(public_id="r-1").attempt


def test_the_button_leads_to_a_page_that_asks(rollback: Operation, browser: Client) -> None:
    assert "Retry 3 failed or cancelled…" in browser.get(PAGE).content.decode()

    asked = browser.post(RETRY)

    assert asked.status_code == 200
    assert b'name="password"' in asked.content
    assert b"Wrong password" not in asked.content
    assert b"Roll back 3 instances of user-service to v1 again" in asked.content
    assert attempts() == 1


def test_with_the_password_it_is_tried_again(rollback: Operation, browser: Client) -> None:
    answer = browser.post(RETRY, {"password": PASSWORD})

    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    assert attempts() == 2


@pytest.mark.parametrize("password", ["", "wrong"])
def test_with_another_nothing_happens(rollback: Operation, browser: Client, password: str) -> None:
    answer = browser.post(RETRY, {"password": password})

    assert answer.status_code == 403
    assert b"Wrong password" in answer.content
    assert attempts() == 1


def test_guesses_lock_the_person_out(rollback: Operation, browser: Client, settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3

    assert [browser.post(RETRY, {"password": "wrong"}).status_code for _ in range(3)] == [403, 403, 429]
    assert AuditEntry.objects.filter(action="login.fail", actor_name="ada").count() == 3
    assert browser.post(RETRY, {"password": PASSWORD}).status_code == 429
    assert attempts() == 1


def test_only_those_that_are_tried_again_count(rollback: Operation, browser: Client) -> None:
    failed(rollback, count=2)

    assert re.search(r"Retry 2 failed or cancelled\s*</button>", browser.get(PAGE).content.decode())
    assert browser.post(RETRY).status_code == 302
    assert attempts() == 2


def test_a_session_is_no_way_around_over_the_api(rollback: Operation, browser: Client) -> None:
    answer = browser.post("/v1/rollback/retry/r-1", {}, content_type="application/json")

    assert answer.status_code == 403
    assert answer.json()["errors"][0]["code"] == "password_required"
    assert attempts() == 1


def test_a_program_has_no_password_to_give(rollback: Operation) -> None:
    assert caller("deploy").post("/v1/rollback/retry/r-1", {}).status_code == 202


def test_a_deploy_is_tried_again_as_it_was_started(guarded_fleet: Service, browser: Client) -> None:
    wanted = DeployRequest(
        service=guarded_fleet.name,
        version="v3",
        instances=ids(list(guarded_fleet.instances.all())),
        package_url="http://p/v3.tgz",
        deploy_id="d-1",
    )
    failed(start_deploy(access=SCHEDULER, request=wanted))

    assert browser.post("/deploys/d-1/retry").status_code == 302
    assert Operation.objects.get(public_id="d-1").attempt == 2
