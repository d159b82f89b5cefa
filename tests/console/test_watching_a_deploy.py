from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from deploys.models import Target
from deploys.states import TargetStatus
from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet


def icon_of(page: Page) -> str:
    return page.locator("link[rel=icon]").evaluate("icon => icon.href")  # type: ignore[no-any-return]


def test_a_hidden_tab_still_comes_to_the_end_in_its_title(fleet: Fleet, open_page: OpenPage) -> None:
    """It asks once every quarter of a minute, and not every second and a half."""
    operation = fleet.operations["running"]
    page = open_page("viewer")
    asked: list[str] = []
    page.goto(f"/deploys/{operation.public_id}")
    page.on("request", lambda request: asked.append(request.url) if "mark=" in request.url else None)
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    page.clock.install()
    for target in Target.objects.filter(operation=operation, finished_at__isnull=True):
        demo_data.finish_target(target)
    page.wait_for_timeout(4000)
    assert len(asked) <= 1
    page.evaluate("performance.now = () => 1e9")
    expect(page).to_have_title(re.compile("^Failed: Deploy"))


def test_a_deploy_moves_live_without_a_reload_and_the_polling_ends_with_it(fleet: Fleet, open_page: OpenPage) -> None:
    operation = fleet.operations["running"]
    page = open_page("viewer")
    page.goto(f"/deploys/{operation.public_id}")
    page.evaluate("window.neverReloaded = true")
    expect(page.locator(".hero-sentence")).to_have_text("9 of 24 done, 1 failed so far")
    expect(page).to_have_title(re.compile("^In progress: Deploy"))
    running_icon = icon_of(page)
    assert running_icon.startswith("data:image/svg+xml,")
    expect(page.get_by_role("status")).to_have_text("")
    unfinished = list(Target.objects.filter(operation=operation, finished_at__isnull=True).order_by("pk"))
    for target in unfinished[:4]:
        demo_data.finish_target(target)
    expect(page.locator(".hero-sentence")).to_have_text("13 of 24 done, 1 failed so far")
    for target in unfinished[4:]:
        demo_data.finish_target(target)
    expect(page.locator(".hero-sentence")).to_have_text("Failed on 1 of 24 instances")
    expect(page).to_have_title(re.compile("^Failed: Deploy"))
    assert icon_of(page) not in ("", running_icon)
    expect(page.locator("#said")).to_have_text(re.compile("^Failed on 1 of 24 instances First failure: user-service-"))
    assert page.evaluate("window.neverReloaded") is True
    expect(page.locator("#live [data-poll]")).to_have_count(0)


def test_the_log_follows_pauses_when_scrolled_up_and_jumps_to_the_latest(fleet: Fleet, open_page: OpenPage) -> None:
    operation = fleet.operations["running"]
    page = open_page("viewer")
    page.goto(f"/deploys/{operation.public_id}")
    log = page.locator("#log-scroll")
    last = operation.log_lines.exclude(instance=None).latest("seq").instance
    demo_data.add_log_line(operation, "a first new line", last)
    log.scroll_into_view_if_needed()
    expect(page.get_by_text("a first new line")).to_be_in_viewport()
    log.hover()
    page.mouse.wheel(0, -2000)
    expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    demo_data.add_log_line(operation, "a line while paused", last)
    expect(page.get_by_text("a line while paused")).to_be_attached()
    expect(page.get_by_text("a line while paused")).not_to_be_in_viewport()
    page.get_by_role("button", name="Jump to latest").click()
    expect(page.get_by_text("a line while paused")).to_be_in_viewport()


def test_a_line_has_a_permanent_link_and_is_copied_without_its_number(fleet: Fleet, open_page: OpenPage) -> None:
    operation = demo_data.large_operation(200)
    page = open_page("viewer")
    page.goto(f"/deploys/{operation.public_id}?line=9#L9")
    expect(page.locator("#L9")).to_have_class(re.compile("is-target"))
    expect(page.locator("#L9 .log-text")).to_be_in_viewport()
    copied = page.evaluate(
        "() => { getSelection().selectAllChildren(document.querySelector('#L9')); return getSelection().toString(); }"
    )
    assert "9" not in copied.split()
    page.goto(f"/deploys/{operation.public_id}")
    before = page.locator("#log-lines li").count()
    page.get_by_role("link", name="Earlier lines").click()
    expect(page.locator("#log-lines li")).to_have_count(before + 500)


def test_lines_wrap_or_not_by_a_switch(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    page.goto(f"/deploys/{fleet.operations['failed'].public_id}")
    switch = page.get_by_role("button", name="Wrap lines")
    expect(switch).to_have_attribute("aria-pressed", "true")
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#log-scroll")).to_have_class(re.compile("nowrap-lines"))


def test_the_whole_log_is_a_download(fleet: Fleet, open_page: OpenPage) -> None:
    operation = fleet.operations["failed"]
    page = open_page("viewer")
    page.goto(f"/deploys/{operation.public_id}")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download", exact=True).click()
    text = started.value.path().read_text()
    assert len(text.splitlines()) == operation.log_lines.count()
    assert "ImportError" in text


def test_lost_contact_keeps_what_is_shown_and_goes_on_when_it_is_back(
    fleet: Fleet, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expected = ("ERR_FAILED", "htmx:")
    operation = fleet.operations["running"]
    page = open_page("viewer")
    page.goto(f"/deploys/{operation.public_id}")
    page.route("**/*", lambda route: route.abort())
    expect(page.locator(".live")).to_have_text("Connection lost, reconnecting…")
    expect(page.locator(".hero-sentence")).to_have_text("9 of 24 done, 1 failed so far")
    page.unroute("**/*")
    expect(page.locator(".live")).to_contain_text("Updated")


def test_the_overview_moves(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    expect(page.locator(".run-list")).to_contain_text("9 of 24")
    for target in Target.objects.filter(operation=fleet.operations["running"], status=TargetStatus.IN_PROGRESS):
        demo_data.finish_target(target)
    expect(page.locator(".run-list")).to_contain_text("12 of 24")


def test_a_services_instances_are_filtered_as_one_types(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    page.goto("/services/billing")
    page.get_by_label("Filter instances").press_sequentially("billing-3")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Filter instances").fill("")
    expect(page.locator("tbody tr")).to_have_count(8)


def test_ticked_boxes_survive_an_update(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto("/services/user-service")
    page.get_by_label("Select user-service-2", exact=True).check()
    target = Target.objects.filter(operation=fleet.operations["running"], status=TargetStatus.IN_PROGRESS)[0]
    demo_data.finish_target(target)
    row = page.locator("tr", has_text=target.instance.instance_id)
    expect(row).to_contain_text("Running")
    expect(page.get_by_label("Select user-service-2", exact=True)).to_be_checked()
    expect(page.locator("[data-chosen]")).to_have_text("1")


def test_the_log_is_grouped_by_instance_and_step_and_what_is_folded_stays_so(fleet: Fleet, open_page: OpenPage) -> None:
    operation = fleet.operations["running"]
    failed = operation.targets.filter(status=TargetStatus.FAILED).get().instance
    done = operation.targets.filter(status=TargetStatus.COMPLETED).order_by("pk")[1]
    page = open_page("viewer")
    page.goto(f"/deploys/{operation.public_id}")
    group = page.locator(f"details.log-group[data-group='{failed.pk}']")
    expect(group).to_have_attribute("open", "")
    keys = page.locator("details.log-group").evaluate_all("groups => groups.map(each => each.dataset.group)")
    assert keys.index(str(failed.pk)) < keys.index(str(done.instance_id))
    expect(group.locator(".log-step-name")).to_have_text(["Wait", "Switch", "Restart"])
    # One that is done is folded, and says how it ended.
    of_done = page.locator(f"details.log-group[data-group='{done.instance_id}']")
    expect(of_done.locator("li").first).to_be_hidden()
    assert "Completed" in of_done.locator(".log-last").evaluate("e => getComputedStyle(e, '::after').content")

    group.locator("> summary").focus()
    page.keyboard.press("Enter")
    demo_data.add_log_line(operation, "one more of it", failed, "restart")
    expect(group.get_by_text("one more of it")).to_be_attached()
    expect(group.get_by_text("one more of it")).to_be_hidden()
    expect(page.locator(f"details.log-group[data-group='{failed.pk}']")).to_have_count(1)
    group.locator("> summary").press("Enter")
    expect(group.get_by_text("one more of it")).to_be_visible()
    expect(group.locator(".log-step-name")).to_have_text(["Wait", "Switch", "Restart"])


def test_the_failing_commands_last_lines_stand_beside_the_error_and_lead_into_the_log(
    fleet: Fleet, open_page: OpenPage
) -> None:
    operation = fleet.operations["failed"]
    page = open_page("viewer")
    page.goto(f"/deploys/{operation.public_id}")
    box = page.locator(".first-error .last-lines")
    expect(box.locator("pre")).to_contain_text("ImportError: cannot import name 'settings' from 'app.config'")
    expect(box.locator("pre")).to_contain_text("Traceback")
    box.get_by_role("link", name="Show them in the log").click()
    expect(page.locator("li.is-target .log-text")).to_have_text("Traceback (most recent call last):")
    expect(page.locator("li.is-target .log-text")).to_be_in_viewport()
