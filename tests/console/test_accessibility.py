"""WCAG 2 A and AA by axe-core, on every page, light and dark, wide and phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.console.conftest import OpenPage
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet
from tests.support.screenshots import PAGES

# preload: axe would fetch every style sheet again by itself, which tells nothing of our pages but of its own mistakes.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
    "preload": False,
}


def violations(page: Page) -> list[str]:
    page.wait_for_load_state("load")
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found for n in v["nodes"]]


@pytest.mark.parametrize("is_phone", [False, True], ids=["wide", "phone"])
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_no_page_has_a_violation(
    fleet: Fleet, open_page: OpenPage, complaints: Complaints, is_dark: bool, is_phone: bool
) -> None:
    complaints.expected = ("404 (Not Found)",)
    stranger = open_page("", dark=is_dark, phone=is_phone)
    stranger.goto("/login")
    found = [f"login: {text}" for text in violations(stranger)]
    page = open_page("admin", dark=is_dark, phone=is_phone)
    for name, path in PAGES.items():
        page.goto(path)
        found += [f"{name}: {text}" for text in violations(page)]
    assert found == []


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_open_menus_and_dialogs_have_none_either(fleet: Fleet, open_page: OpenPage, is_dark: bool) -> None:
    page = open_page("operator", dark=is_dark)
    page.get_by_label("Language and look").click()
    found = violations(page)
    page.keyboard.press("Escape")
    page.get_by_label("Account of operator").click()
    found += violations(page)
    page.get_by_role("button", name="Keyboard shortcuts").click()
    found += violations(page)
    assert found == []


def test_everything_can_be_reached_by_keyboard(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.dataset.row") == ""
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("checkout")
    page.keyboard.press("?")
    assert page.locator("#keys").evaluate("e => e.open")
    page.keyboard.press("Escape")
    page.goto("/deploys/deploy-2026-11-23-checkout")
    page.keyboard.press("l")
    assert page.locator("#log").evaluate("e => e.getBoundingClientRect().top < innerHeight")
