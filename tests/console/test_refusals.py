"""Refusals that come of the set-up name what was received and the setting to change."""

from __future__ import annotations

from django.test import Client

from tests.support import demo_data


def test_a_wrong_host_is_named_with_the_setting_that_lets_it_in(client: Client) -> None:
    client.raise_request_exception = False
    answer = client.get("/login", headers={"host": "releases.example.com"})
    text = answer.content.decode()
    assert answer.status_code == 400
    assert "ALLOWED_HOSTS=127.0.0.1,localhost,releases.example.com" in text


def test_a_wrong_origin_is_named_with_the_setting_that_trusts_it(db: None) -> None:
    demo_data.people()
    strict = Client(enforce_csrf_checks=True)
    strict.get("/login")
    form = {
        "username": "viewer",
        "password": demo_data.PASSWORD,
        "csrfmiddlewaretoken": strict.cookies["csrftoken"].value,
    }
    answer = strict.post("/login", form, headers={"origin": "https://releases.example.com"})
    assert answer.status_code == 403
    assert "CSRF_TRUSTED_ORIGINS=https://releases.example.com" in answer.content.decode()


def test_a_form_without_a_token_says_to_load_the_page_again(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post("/login", {"username": "viewer"})
    assert answer.status_code == 403
    assert "Reload the page" in answer.content.decode()


def test_what_was_received_is_escaped(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post(
        "/login", {}, headers={"origin": "https://<script>alert(1)</script>"}
    )
    assert "<script>alert" not in answer.content.decode()
