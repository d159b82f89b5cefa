"""A person of the identity provider who turns many instances around logs in there again: what others do by their password."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deploys.models import Operation
from deploys.operations.cancel import cancel_operation
from deploys.states import Kind
from inventory.models import AuditEntry
from inventory.security import fresh_login
from releasesite.api.people import access_of_user
from tests.releasesite.login.oidc_login import log_in, provider
from tests.rollbacks.test_password_again import hidden_values
from tests.support.lying_provider import LyingProvider

__all__ = ("provider",)  # a fixture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("guarded_fleet")]

PAGE = "/services/user-service/roll-back?to=v1"


@pytest.fixture
def browser(provider: LyingProvider) -> Client:
    browser = Client()
    log_in(browser, provider)
    return browser


def again(browser: Client, provider: LyingProvider) -> Any:
    """By the page's own button."""
    shown = browser.get(PAGE)
    return log_in(browser, provider, shown.context["login_again"].url.removeprefix("/login/oidc"))


def confirm(browser: Client, given: dict[str, str] | None = None) -> Any:
    given = given or hidden_values(browser.get(PAGE).content.decode())
    return browser.post(PAGE, given)


def test_a_new_login_is_asked_for_and_then_it_starts(browser: Client, provider: LyingProvider) -> None:
    shown = browser.get(PAGE).content.decode()
    assert "log in again at Example Login first" in shown
    assert "password" not in shown
    assert 'id="confirm"' not in shown
    out = browser.get(browser.get(PAGE).context["login_again"].url)["Location"]
    assert "max_age=0" in out and "prompt=login" in out

    assert again(browser, provider)["Location"] == PAGE

    assert confirm(browser).status_code == 302
    assert Operation.objects.get().total == 3


def test_one_login_is_good_for_one_act_on_its_page(browser: Client, provider: LyingProvider) -> None:
    again(browser, provider)
    given = hidden_values(browser.get(PAGE).content.decode())
    assert confirm(browser, given).status_code == 302
    cancel_operation(
        access=access_of_user(User.objects.get(), address=""), kind=Kind.ROLLBACK, public_id=given["rollback_id"]
    )

    assert 'id="confirm"' not in browser.get(PAGE).content.decode()


def test_without_it_nothing_starts_whatever_is_posted(browser: Client, provider: LyingProvider) -> None:
    again(browser, provider)
    given = hidden_values(browser.get(PAGE).content.decode())
    session = browser.session
    session["fresh_login"]["at"] -= fresh_login.VALID_SECONDS
    session.save()

    answer = browser.post(PAGE, {**given, "password": "anything"})

    assert answer.status_code == 403
    assert "log in again at Example Login first" in answer.content.decode()
    assert not Operation.objects.exists()


def test_a_login_for_another_page_does_not_help(browser: Client, provider: LyingProvider) -> None:
    log_in(browser, provider, "?for=/history&next=/history")

    assert 'id="confirm"' not in browser.get(PAGE).content.decode()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an earlier login at the provider": ({"auth_time": int(time.time()) - 600}, "did not ask you to log in again"),
    "a login that has not been yet": ({"auth_time": int(time.time()) + 86_400}, "did not ask you to log in again"),
    "a provider that does not say when": ({"auth_time": None}, "does not say when you logged in there"),
    "a time that is none": ({"auth_time": "now"}, "did not pass the checks"),
    "another person": ({"sub": "bob-1", "preferred_username": "bob"}, "somebody else than here"),
    "a person whose group is gone": ({"groups": []}, "none of your groups there has a role here"),
}


@pytest.mark.parametrize(("claims", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_proves_no_new_login_is_refused(
    browser: Client, provider: LyingProvider, claims: dict[str, Any], told: str
) -> None:
    provider.claims = claims

    answer = again(browser, provider)

    assert answer.status_code == 403
    assert told in answer.content.decode()
    assert "Not confirmed" in answer.content.decode()
    assert AuditEntry.objects.get(action="login.fail").actor_name == "ada"
    assert "fresh_login" not in browser.session
    assert "bob" not in AuditEntry.objects.values_list("object_id", flat=True)


def test_trying_a_rollback_again_asks_the_same(browser: Client, provider: LyingProvider) -> None:
    again(browser, provider)
    confirm(browser)
    rollback = Operation.objects.get()
    cancel_operation(
        access=access_of_user(User.objects.get(), address=""), kind=Kind.ROLLBACK, public_id=rollback.public_id
    )
    page = f"/rollbacks/{rollback.public_id}/retry"

    asked = browser.post(page, {"password": "anything"})
    assert "log in again at Example Login first" in asked.content.decode()
    assert Operation.objects.get().status == "cancelled"
    back = log_in(browser, provider, asked.context["login_again"].url.removeprefix("/login/oidc"))
    assert back["Location"] == f"/rollbacks/{rollback.public_id}"
    assert browser.post(page)["Location"] == f"/rollbacks/{rollback.public_id}"
    assert Operation.objects.get().status in ("pending", "in_progress")
    assert "fresh_login" not in browser.session
