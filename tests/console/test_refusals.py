"""Refusals that come of the set-up name what was received and the setting to change."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.browser import Complaints


def test_a_wrong_host_is_named_with_the_setting_that_lets_it_in(client: Client, settings: Settings) -> None:
    """The hosts that were set stay in it, and a port, which the setting would refuse, does not get into it."""
    client.raise_request_exception = False
    settings.ALLOWED_HOSTS = ["10.0.0.7", "[::1]"]
    for asked in ("releases.example.com", "releases.example.com:8155"):
        answer = client.get("/login", headers={"host": asked})
        assert answer.status_code == 400
        assert "ALLOWED_HOSTS=10.0.0.7,[::1],releases.example.com<" in answer.content.decode()
    for nonsense in ("a b", "x:y:z"):
        assert "ALLOWED_HOSTS=" not in client.get("/login", headers={"host": nonsense}).content.decode()


def test_the_setting_that_it_names_lets_the_browser_in(
    open_page: OpenPage, live_server: LiveServer, complaints: Complaints, settings: Settings
) -> None:
    complaints.expected = ("400 (Bad Request)",)
    page = open_page("")
    settings.ALLOWED_HOSTS = ["releases.example.com"]
    page.goto(f"{live_server.url}/login")
    named = page.locator(".code-block").inner_text().removeprefix("ALLOWED_HOSTS=")
    assert named == "releases.example.com,localhost"
    settings.ALLOWED_HOSTS = named.split(",")
    page.goto(f"{live_server.url}/login")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_a_person_without_a_role_can_log_out_of_the_refusal(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("bob"), "django.contrib.auth.backends.ModelBackend")
    for path in ("/", "/admin/"):
        answer = client.get(path)
        assert answer.status_code == 403
        text = answer.content.decode()
        assert "You are logged in as bob, who has no role." in text
        assert 'action="/logout"' in text
        assert "To the overview" not in text


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
