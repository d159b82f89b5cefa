from __future__ import annotations

from playwright.sync_api import expect

from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.demo_data import Fleet


def test_a_person_logs_in_and_is_taken_to_the_page_that_was_asked_for(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("")
    page.goto("/history")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.get_by_label("User name").fill("viewer")
    page.get_by_label("Password").fill(demo_data.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()


def test_a_wrong_password_says_so_and_a_right_one_logs_out_again(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("")
    page.goto("/login")
    page.get_by_label("User name").fill("viewer")
    page.get_by_label("Password").fill("no")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong user name or password")
    page.get_by_label("Password").fill(demo_data.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Account of viewer").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_person_changes_the_password(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    page.goto("/password")
    page.get_by_label("Old password").fill(demo_data.PASSWORD)
    page.get_by_label("New password", exact=True).fill("a-much-better-one-7")
    page.get_by_label("New password confirmation").fill("a-much-better-one-7")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("status").first).to_contain_text("has been changed")


def test_the_language_switch_changes_every_word_and_stays(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    page.get_by_label("Language and appearance").click()
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("概览")
    page.goto("/history")
    expect(page.get_by_role("heading", level=1)).to_have_text("历史")
    assert page.locator("html").get_attribute("lang") == "zh-hans"


def test_the_browsers_language_is_the_first_choice(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer", language="zh")
    expect(page.get_by_role("heading", level=1)).to_have_text("概览")


def test_dark_can_be_chosen_against_the_system(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    page.get_by_label("Language and appearance").click()
    page.get_by_role("button", name="Dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(11, 11, 13)"


def test_times_are_in_the_viewers_zone_with_utc_on_hover(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer", language="zh")
    page.goto("/deploys/deploy-2026-11-12-0007")
    time = page.locator("p.lead time")
    title = time.get_attribute("title") or ""
    assert title.endswith("UTC")
    hour_utc = int(title[11:13])
    expect(time).to_contain_text(f"{(hour_utc + 8) % 24:02}:")
