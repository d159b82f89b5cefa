"""Every page of the admin and the API's own: WCAG 2 A and AA, no sideways scroll, times with their zone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.console.conftest import OpenPage
from tests.console.test_accessibility import narrow_violations, violations
from tests.support import admin_data
from tests.support.admin_data import AdminPage

SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Of what is pressed with a finger: WCAG 2.2 AA asks for 24 px, the boxes of a list's rows aside.
SMALL = """[...document.querySelectorAll('main :is(a.btn, button, input, select, .select2-selection)')].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.width > 0 && !each.matches('[type=checkbox], [type=radio], [type=hidden]') && box.height < 30;
}).map((each) => `${each.tagName} ${each.name || each.textContent.trim()} is small`)"""


@pytest.fixture
def pages(transactional_db: None) -> list[AdminPage]:
    return list(admin_data.fill())


def opened(page: Page, wanted: AdminPage) -> None:
    page.goto(wanted.path)
    if wanted.name == "api":  # its script draws it, and later than the page is loaded
        page.wait_for_selector(".json-schema-2020-12-accordion")
    for name, value in wanted.typed.items():
        page.fill(f"main [name={name}]", value)
    if wanted.typed:
        page.evaluate("for (const form of document.forms) form.noValidate = true")
        page.locator("main form[method=post] :is(input[type=submit], button:not([type]))").first.click()
        page.wait_for_selector(".errorlist")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_phone", [False, True], ids=["wide", "phone"])
def test_each_is_sound(pages: list[AdminPage], open_page: OpenPage, is_phone: bool) -> None:
    page = open_page("admin", phone=is_phone)
    found = []
    for wanted in pages:
        opened(page, wanted)
        texts = [*narrow_violations(page), *page.evaluate(SMALL)] if is_phone else violations(page)
        if (too_wide := page.evaluate(SIDEWAYS)) > 0:
            texts.append(f"{too_wide} px too wide")
        found += [f"{wanted.name}: {text}" for text in texts]
    assert found == []


def test_times_are_the_viewers_and_name_their_zone(pages: list[AdminPage], open_page: OpenPage) -> None:
    page = open_page("admin")
    for wanted in pages:
        if wanted.name in ("inventory_auditentry-list", "deploys_deploy-change"):
            page.goto(wanted.path)
            text = page.locator("main").inner_text()
            assert " CET" in text or " CEST" in text
            assert ".m." not in text


def test_a_form_in_error_keeps_label_field_and_error_in_one_column(pages: list[AdminPage], open_page: OpenPage) -> None:
    page = open_page("admin")
    opened(page, next(each for each in pages if each.name == "inventory_node-wrong"))
    places = page.evaluate("""[...document.querySelectorAll(".has-error")].map((row) =>
        ["label", "input, textarea", ".errorlist"].map((part) => {
            const box = row.querySelector(part).getBoundingClientRect();
            return [Math.round(box.left), box.top];
        }))""")
    assert len(places) == 4
    for label, field, error in places:
        assert label[0] == field[0] == error[0]
        assert label[1] < field[1] < error[1]
