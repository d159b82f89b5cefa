"""WCAG 2 A and AA by axe-core, on every page, light and dark, wide and phone."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.console.conftest import OpenPage
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet
from tests.support.demo_pages import PAGES

# Light and dark differ by their colours alone, and axe takes long: in the dark only the rules on colours are asked.
COLOURS = ["color-contrast", "link-in-text-block"]
# A transition whose element is drawn anew meanwhile ends as cancelled, which is an end too.
COLOURS_ARE_THERE = """Promise.all(
    document.getAnimations().filter((each) => each instanceof CSSTransition)
        .map((each) => each.finished.catch(() => null))
).then(() => null)"""
# preload: axe would fetch every style sheet again by itself, which tells nothing of our pages but of its own mistakes.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
    "preload": False,
}


# What a narrow page may have that the same page has not when it is wide.
WHEN_NARROW = [*COLOURS, "link-name", "button-name", "label", "target-size", "scrollable-region-focusable"]


def narrow_violations(page: Page) -> list[str]:
    """Of a page whose wide form is asked with `violations`; in the dark."""
    found = _asked(page, "dark", {**RULES, "runOnly": {"type": "rule", "values": WHEN_NARROW}})
    page.emulate_media(color_scheme="light")
    return found


def violations(page: Page) -> list[str]:
    """In light and in dark."""
    page.wait_for_load_state("load")
    found = _asked(page, "light", RULES)
    found += _asked(page, "dark", {**RULES, "runOnly": {"type": "rule", "values": COLOURS}})
    page.emulate_media(color_scheme="light")
    return found


def _asked(page: Page, scheme: Literal["light", "dark"], rules: dict[str, object]) -> list[str]:
    page.emulate_media(color_scheme=scheme)
    page.evaluate(COLOURS_ARE_THERE)
    found = Axe().run(page, options=rules).response["violations"]
    return [f"{scheme} {v['id']}: {n['target']} {n['failureSummary']}" for v in found for n in v["nodes"]]


@pytest.mark.parametrize("is_phone", [False, True], ids=["wide", "phone"])
def test_no_page_has_a_violation(fleet: Fleet, open_page: OpenPage, complaints: Complaints, is_phone: bool) -> None:
    complaints.expected = ("404 (Not Found)",)
    stranger = open_page("", phone=is_phone)
    stranger.goto("/login")
    found = [f"login: {text}" for text in violations(stranger)]
    page = open_page("admin", phone=is_phone)
    for name, path in PAGES.items():
        page.goto(path)
        found += [f"{name}: {text}" for text in violations(page)]
    assert found == []


def test_a_page_with_violations_is_told_in_both_schemes(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.evaluate("""document.querySelector("h1").className = "faint"; document.querySelector("html").lang = "";
        for (const sheet of document.styleSheets) for (const rule of [...sheet.cssRules])
            if (rule.selectorText === ".faint") rule.style.color = "#808080", rule.style.background = "#777777";""")
    found = violations(page)
    assert {text.split()[0] for text in found if "color-contrast" in text} == {"light", "dark"}
    assert any(text.startswith("light html-has-lang") for text in found)


def test_open_menus_and_dialogs_have_none_either(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.get_by_label("Language and appearance").click()
    found = violations(page)
    page.keyboard.press("Escape")
    page.get_by_label("Account of operator").click()
    found += violations(page)
    page.get_by_role("button", name="Keyboard shortcuts").click()
    found += violations(page)
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("billing")
    page.wait_for_selector("[role=option]")
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
