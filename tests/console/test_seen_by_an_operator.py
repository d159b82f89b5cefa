"""What a new operator saw and must not see again, in a real browser.

Files of their own: an operation's end, the longest names, the search, forward again, three in the morning.
"""

from __future__ import annotations

import re

from django.contrib.auth.models import User
from playwright.sync_api import expect

from deploys.models import Operation
from deploys.states import TargetStatus
from inventory.models import Health, Instance, RunStatus
from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.browser import Complaints, log_in
from tests.support.demo_data import Fleet


def test_the_overview_is_not_green_beside_a_failed_deploy(fleet: Fleet, open_page: OpenPage) -> None:
    """All its instances were reverted and are well; another's node is not reached; a deploy says its step and age."""
    Instance.objects.filter(service__name="billing").update(health=Health.HEALTHY, run_status=RunStatus.RUNNING)
    demo_data.add_operation(fleet.services["billing"], "bad", [TargetStatus.FAILED], version="v9", minutes_ago=1)
    Instance.objects.filter(instance_id="search-api-1").update(run_status=RunStatus.UNKNOWN)
    page = open_page("viewer")
    billing = page.locator("tr", has=page.get_by_role("link", name="billing", exact=True))
    expect(billing).to_contain_text("Last deploy failed")
    expect(billing).not_to_contain_text("Healthy")
    search = page.locator("tr", has=page.get_by_role("link", name="search-api", exact=True))
    expect(search).to_contain_text("1 unknown")
    expect(search).not_to_contain_text("No problem known")
    expect(page.locator(".run-list")).to_have_text(re.compile(r"(Stage|Restart|Switch)\s+\d\d:\d\d"))


def test_who_has_no_role_is_told_what_to_do_and_can_log_out(
    fleet: Fleet, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expected = ("403 (Forbidden)",)
    person = User.objects.get(username="viewer")
    person.groups.clear()
    page = open_page("")
    page.goto("/login")
    page.fill("input[name=username]", "viewer")
    page.fill("input[name=password]", demo_data.PASSWORD)
    page.click("main button")
    expect(page.locator("main")).to_contain_text("role")
    page.get_by_role("button", name="Log out").first.click()
    expect(page).to_have_url(re.compile("/login"))
    log_in(page, "operator", demo_data.PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_a_part_of_a_services_name_and_a_local_day_filter_the_history(
    fleet: Fleet, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expected = ("htmx:afterRequest", "htmx:sendAbort")  # of a request that the next one replaces
    page = open_page("viewer")
    page.goto("/history")
    page.get_by_label("Service").fill("user")
    expect(page.locator("tbody")).to_contain_text("deploy-2026-11-23-0142")
    expect(page.locator("tbody")).not_to_contain_text("deploy-2026-11-23-checkout")
    last = Operation.objects.get(public_id="deploy-2026-11-23-0142")
    day = page.evaluate("at => new Date(at).toLocaleDateString('sv')", last.started_at.isoformat())
    page.get_by_label("From day").fill(day)
    page.get_by_label("To day").fill(day)
    expect(page.locator("tbody")).to_contain_text("deploy-2026-11-23-0142")
    page.wait_for_load_state("networkidle")
