"""A service is held and released at the console, and everybody sees who holds it, why and since when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import expect

from deploys.models import Hold, Operation, Worker
from deploys.operations.hold import hold_service
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind
from tests.console.conftest import OpenPage
from tests.console.test_accessibility import violations
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet
from tests.support.fleet import SCHEDULER

REASON = "Payments time out; look first."
DEPLOY = {
    "service": "billing", "version": "v6", "package_url": "https://packages.example.com/b.tar.gz", "scope": "all",
}  # fmt: skip


def test_a_service_is_held_and_released(fleet: Fleet, open_page: OpenPage, complaints: Complaints) -> None:
    page, other = open_page("operator"), open_page("viewer", phone=True)
    other.goto("/services/billing")
    page.goto("/services/billing")
    page.get_by_role("link", name="Hold…").click()
    page.get_by_label("Reason").fill(REASON)
    page.get_by_label("Until").select_option("4 hours from now")
    page.get_by_role("button", name="Hold billing").click()
    expect(page.get_by_text("The service is held: no deploy of it starts.")).to_be_visible()
    hold = Hold.objects.get()
    assert (hold.held_by, hold.reason) == ("operator", REASON)
    assert timedelta(hours=3.9) < hold.until - timezone.now() < timedelta(hours=4)  # type: ignore[operator]

    # It appears on a page that is open, without a button where one may not release it.
    notice = other.locator(".hold-notice")
    for said in ("operator", REASON, "Since", "until"):
        expect(notice).to_contain_text(said)
    expect(notice.get_by_role("button")).to_have_count(0)
    assert violations(other) == []
    expect(page.get_by_role("link", name="Hold…")).to_have_count(0)

    page.goto("/")
    expect(page.locator(".hold-notice")).to_contain_text(REASON)
    assert violations(page) == []
    page.get_by_role("button", name="Release billing").click()
    expect(page.get_by_text("The service is released: deploys of it start again.")).to_be_visible()
    expect(notice).to_have_count(0)
    expect(page.get_by_role("link", name="Hold…")).to_be_visible()


def test_a_roll_back_holds_unless_the_box_is_unticked(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto("/services/billing/roll-back")
    expect(page.get_by_label("Hold the service, too")).to_be_checked()
    page.get_by_label("Reason").fill(REASON)
    page.locator("#confirm").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()
    assert Hold.objects.active().get().reason == REASON

    page.goto("/services/search-api/roll-back")
    page.get_by_label("Hold the service, too").uncheck()
    page.locator("#confirm").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()
    assert Operation.objects.filter(kind=Kind.ROLLBACK, service__name="search-api").exists()
    assert not Hold.objects.filter(service__name="search-api").exists()


@pytest.fixture
def operator(fleet: Fleet, client: Client) -> Client:
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
    return client


def hold_billing() -> None:
    hold_service(access=SCHEDULER, service_name="billing", reason=REASON)


def test_a_deploy_of_a_held_service_is_not_offered_and_refused_when_forced(operator: Client) -> None:
    form = operator.post("/deploy", {**DEPLOY, "step": "preview"}).context
    asked = {**DEPLOY, "step": "start", "digest": form["plan"].digest, "deploy_id": form["deploy_id"]}
    hold_billing()

    moved = operator.post("/deploy", asked)
    shown = operator.post("/deploy", {**DEPLOY, "step": "preview"})
    forced = operator.post("/deploy", {**asked, "digest": shown.context["plan"].digest})

    assert [answer.status_code for answer in (moved, shown, forced)] == [409, 200, 409]
    assert "This preview is out of date." in moved.content.decode()
    assert 'id="confirm"' not in shown.content.decode()
    assert REASON in shown.content.decode()
    assert forced.context["refusal"].code == "service_held"
    assert not Operation.objects.filter(version="v6").exists()


def test_an_operation_that_a_hold_has_ended_says_so(operator: Client) -> None:
    deploy = start_deploy(
        access=SCHEDULER,
        request=DeployRequest(
            service="billing", version="v6", instances=("billing-1",), package_url="https://packages.example.com/b.tgz"
        ),
    )
    hold_billing()

    text = " ".join(operator.get(f"/deploys/{deploy.public_id}").content.decode().split())

    assert "Superseded: 0 of 1 done" in text
    assert "Superseded before the switch: the service was held." in text
    assert REASON in text
    assert "by a rollback" not in text


def test_a_retry_of_a_held_services_deploy_says_why_not(operator: Client) -> None:
    hold_service(access=SCHEDULER, service_name="checkout", reason=REASON)

    answer = operator.post("/deploys/deploy-2026-11-23-checkout/retry", follow=True)

    assert "The service is held: no deploy of it starts." in answer.content.decode()
    assert Operation.objects.get(public_id="deploy-2026-11-23-checkout").attempt == 1


def test_a_retry_that_an_old_worker_stands_in_the_way_of_says_so(operator: Client) -> None:
    Operation.objects.filter(public_id="deploy-2026-11-23-checkout").update(until="staged")
    Worker.objects.update(version="")

    answer = operator.post("/deploys/deploy-2026-11-23-checkout/retry", follow=True)

    assert "A worker of a version before 0.2.0 still works on worker-1" in answer.content.decode()


def test_who_comes_second_learns_that_it_is_held_already(operator: Client) -> None:
    hold_billing()

    seen = operator.get("/services/billing/hold", follow=True)
    sent = operator.post("/services/billing/hold", {"reason": "x"}, follow=True)

    for answer in (seen, sent):
        assert "The service is held already." in answer.content.decode()
    assert Hold.objects.get().reason == REASON


def test_a_hold_without_a_reason_is_refused(operator: Client) -> None:
    answer = operator.post("/services/billing/hold", {"reason": " ", "hours": "5"})

    assert set(answer.context["form"].errors) == {"reason", "hours"}
    assert not Hold.objects.exists()
