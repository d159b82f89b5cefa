"""A person who turns many instances around gives the password again; a session alone is not enough."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client
from pytest_django.fixtures import Settings

from deploys.models import Operation
from inventory.models import AuditEntry, Instance
from tests.support.api import caller, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("guarded_fleet")]

PASSWORD = "correct horse battery"
PAGE = "/services/user-service/roll-back?to=v1"
BATCH = {"service": "user-service", "target_version": "v1"}


@pytest.fixture
def browser() -> Client:
    user = person("operator")
    user.set_password(PASSWORD)
    user.save()
    client = Client()
    client.force_login(user)
    return client


def confirm(browser: Client, page: str = PAGE, **keys: str) -> Any:
    """Press the button of the preview."""
    shown = browser.get(page).content.decode()
    if "package_url" in keys:  # it changes the plan, which is shown again
        shown = browser.post(page, {**hidden_values(shown), **keys}).content.decode()
    return browser.post(page, {**hidden_values(shown), **keys})


def hidden_values(shown: str) -> dict[str, str]:
    return {name: hidden_value(shown, name) for name in ("digest", "rollback_id")}


def hidden_value(html: str, name: str) -> str:
    [tag] = [tag for tag in re.findall(r"<input[^>]*>", html) if f'name="{name}"' in tag]
    found = re.search(r'value="([^"]*)"', tag)
    assert found
    return found[1]


def test_the_form_asks_for_the_password_only_when_there_are_many(browser: Client) -> None:
    one = Instance.objects.first()
    assert one is not None

    assert b'name="password"' in browser.get(PAGE).content
    assert b'name="password"' not in browser.get(f"{PAGE}&i={one.pk}").content


def test_with_the_password_it_starts(browser: Client) -> None:
    assert confirm(browser, password=PASSWORD).status_code == 302
    assert Operation.objects.get().total == 3


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_it_nothing_happens(browser: Client, password: str) -> None:
    answer = confirm(browser, password=password, reason="it burns")

    assert answer.status_code == 403
    assert b"Wrong password" in answer.content
    assert b"it burns" in answer.content
    assert not Operation.objects.exists()


def test_another_persons_password_does_not_help(browser: Client) -> None:
    other = person("operator", name="bob")
    other.set_password("hunter22 hunter22")
    other.save()

    assert confirm(browser, password="hunter22 hunter22").status_code == 403


def test_few_instances_need_no_password(browser: Client) -> None:
    one = Instance.objects.first()
    assert one is not None

    assert confirm(browser, f"{PAGE}&i={one.pk}").status_code == 302


def test_guesses_are_on_the_audit_and_lock_the_person_out(browser: Client, settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3

    answers = [confirm(browser, password="wrong").status_code for _ in range(3)]

    assert answers == [403, 403, 429]
    assert AuditEntry.objects.filter(action="login.fail", actor_name="ada").count() == 3
    assert confirm(browser, password=PASSWORD).status_code == 429
    assert not Operation.objects.exists()


def test_a_wrong_password_leaves_no_secret_behind(browser: Client) -> None:
    url = "http://build:hunter22@host.example/v1.tar.gz?key=sesame"

    confirm(browser, password="almost right", package_url=url)

    [attempt] = AccessAttempt.objects.all()
    kept = f"{attempt.post_data} {attempt.get_data} {attempt.path_info} {attempt.username}"
    assert not any(secret in kept for secret in ("almost right", "hunter22", "sesame"))


def test_a_session_is_no_way_around_over_the_api(browser: Client) -> None:
    answer = browser.post("/v1/rollback/batch", BATCH, content_type="application/json")

    assert answer.status_code == 403
    assert answer.json()["errors"][0]["code"] == "password_required"
    assert not Operation.objects.exists()


def test_a_program_has_no_password_to_give() -> None:
    assert caller("deploy").post("/v1/rollback/batch", BATCH).status_code == 202
