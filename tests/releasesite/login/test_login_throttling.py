"""Guessing passwords ends at our own page, tells nobody who exists, and keeps no secret."""

from __future__ import annotations

from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from inventory.models import AuditEntry

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def limit(settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    User.objects.create_user("ada", password=PASSWORD)


def guess(name: str = "ada", password: str = "wrong", *, address: str = "10.0.0.1") -> Any:
    return Client().post("/login", {"username": name, "password": password}, REMOTE_ADDR=address)


def test_the_right_password_is_refused_too_after_too_many_wrong_ones() -> None:
    answers = [guess().status_code for _ in range(3)]

    assert answers == [200, 200, 429]
    locked = guess(password=PASSWORD)
    assert locked.status_code == 429
    assert "registration/locked.html" in [template.name for template in locked.templates]


def test_others_are_not_locked_out_with_them() -> None:
    for _ in range(3):
        guess()

    assert guess(password=PASSWORD, address="10.0.0.2").status_code == 302


@pytest.fixture
def wide_limits(settings: Settings) -> None:
    settings.LOGIN_FAILURES_OF_A_NAME = settings.LOGIN_FAILURES_FROM_AN_ADDRESS = 5


def test_guessing_at_a_name_from_many_addresses_ends_too(wide_limits: None) -> None:
    answers = [guess(address=f"10.0.1.{number}").status_code for number in range(6)]

    assert answers == [200, 200, 200, 200, 429, 429]
    assert guess(password=PASSWORD, address="10.0.1.9").status_code == 429
    assert guess("somebody", address="10.0.1.9").status_code == 200


def test_guessing_at_many_names_from_an_address_ends_too(wide_limits: None) -> None:
    answers = [guess(f"name-{number}").status_code for number in range(6)]

    assert answers == [200, 200, 200, 200, 429, 429]
    assert guess(password=PASSWORD).status_code == 429
    assert guess("name-1", address="10.0.0.2").status_code == 200


def test_strangers_guesses_lock_nobody_out_of_where_they_work(wide_limits: None) -> None:
    assert guess(password=PASSWORD, address="10.0.0.7").status_code == 302
    for number in range(6):
        guess(address=f"10.0.1.{number}")
        guess(f"name-{number}", address="10.0.0.7")

    assert guess(password=PASSWORD, address="10.0.0.7").status_code == 302
    assert guess(password=PASSWORD, address="10.0.0.8").status_code == 429
    assert [guess(address="10.0.0.7").status_code for _ in range(3)] == [200, 200, 429]


def test_a_login_within_the_limit_starts_the_count_anew() -> None:
    for _ in range(3):
        assert [guess().status_code, guess().status_code, guess(password=PASSWORD).status_code] == [200, 200, 302]


def test_a_forwarded_address_of_a_stranger_does_not_help() -> None:
    for number in range(3):
        client = Client(REMOTE_ADDR="10.0.0.1", headers={"x-forwarded-for": f"10.9.9.{number}"})
        client.post("/login", {"username": "ada", "password": "wrong"})

    assert guess(password=PASSWORD).status_code == 429


def test_nobody_learns_which_names_exist() -> None:
    known = [guess("ada") for _ in range(4)]
    unknown = [guess("nobody") for _ in range(4)]

    assert [answer.status_code for answer in known] == [answer.status_code for answer in unknown]
    assert guess("somebody").status_code == 200


def test_a_password_in_the_wrong_field_is_kept_nowhere() -> None:
    guess(PASSWORD, PASSWORD)

    [attempt] = AccessAttempt.objects.all()
    kept = " ".join(str(value) for value in vars(attempt).values())
    assert PASSWORD not in kept
    assert "correct" not in kept
    assert AuditEntry.objects.get(action="login.fail").object_id == "(nobody's name)"
