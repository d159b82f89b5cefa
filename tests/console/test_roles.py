"""What one may not do is not offered, and refused when forced."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from deploys.models import Operation
from releasesite.models import ServiceLimit
from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet

FORCED = (
    ("post", "/deploys/deploy-2026-11-23-0142/cancel"),
    ("post", "/deploys/deploy-2026-11-23-checkout/retry"),
    ("get", "/services/billing/roll-back"),
    ("post", "/services/billing/roll-back"),
    ("get", "/deploy"),
    ("post", "/deploy"),
    ("post", "/services/billing/sync"),
    ("get", "/services/billing/hold"),
    ("post", "/services/billing/hold"),
    ("post", "/services/billing/release"),
)


def test_a_viewer_is_offered_nothing_that_changes(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    for path in (
        "/",
        "/services/user-service",
        "/deploys/deploy-2026-11-23-0142",
        "/deploys/deploy-2026-11-23-checkout",
    ):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        for word in ("Roll back", "Deploy…", "Hold", "Stop", "Retry", "Sync", "Admin"):
            assert page.locator("a, button").filter(has_text=word).filter(visible=True).count() == 0, (path, word)


@pytest.mark.parametrize(("method", "path"), FORCED)
def test_a_viewer_who_forces_it_is_refused(fleet: Fleet, client: Client, method: str, path: str) -> None:
    before = list(Operation.objects.order_by("pk").values_list("pk", "status", "attempt", "cancel_requested_at"))
    client.force_login(User.objects.get(username="viewer"), "django.contrib.auth.backends.ModelBackend")
    assert getattr(client, method)(path).status_code == 403
    assert (
        list(Operation.objects.order_by("pk").values_list("pk", "status", "attempt", "cancel_requested_at")) == before
    )


@pytest.mark.parametrize(
    "path",
    ["/", "/history", "/services/billing", "/instances/billing-1", "/deploys/deploy-2026-11-23-0142", "/deploy",
     "/deploys/deploy-2026-11-23-0142/log", "/deploys/deploy-2026-11-23-0142/log.txt", "/services/billing/roll-back",
     "/services/billing/adopt"],
)  # fmt: skip
def test_a_stranger_is_sent_to_log_in(fleet: Fleet, client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/login?next=")
    assert client.get(path, headers={"HX-Request": "true"})["HX-Refresh"] == "true"


def test_a_person_limited_to_a_service_sees_no_trace_of_the_others(fleet: Fleet, client: Client) -> None:
    user = User.objects.get(username="operator")
    ServiceLimit.objects.create(user=user).services.add(fleet.services["billing"])
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    for path in ("/", "/history", "/deploy"):
        text = client.get(path).content.decode()
        assert "billing" in text
        assert "checkout" not in text
    for path in (
        "/services/checkout", "/services/checkout/adopt", "/instances/checkout-1", "/deploys/deploy-2026-11-23-checkout",
    ):  # fmt: skip
        assert client.get(path).status_code == 404
    assert client.post("/deploys/deploy-2026-11-23-checkout/retry").status_code == 404


def test_the_refusal_page_says_why(fleet: Fleet, open_page: OpenPage, complaints: Complaints) -> None:
    complaints.expected = ("403 (Forbidden)",)
    page = open_page("viewer")
    page.goto("/services/billing/roll-back")
    expect(page.get_by_text("You may not do this")).to_be_visible()
    assert demo_data.PASSWORD not in page.content()
