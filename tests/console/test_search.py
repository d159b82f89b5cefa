"""The search in the head of every page: what it finds and for whom, in which order, and how it is driven by keys."""

from __future__ import annotations

import re
import time

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from playwright.sync_api import Page, expect

from deploys.web.pages.queries.search import Found, search
from inventory.actors import SYSTEM
from inventory.models import Instance
from inventory.security.access import SYSTEM_ACCESS, Access, Scope
from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet

FOUND = {
    "user-service": ("service", "user-service", "/services/user-service"),
    "USER-SERVICE-2": ("instance", "user-service-2", "/instances/user-service-2"),
    "10.1.0.1": ("node", "user-service-node-1", "/nodes/user-service-node-1"),
    "service-node-2": ("node", "user-service-node-2", "/nodes/user-service-node-2"),
    "v0.31.4": ("version", "v0.31.4", "/services/search-api?version=v0.31.4"),
    "v1.4.0": ("version", "v1.4.0", "/history?service=user-service&version=v1.4.0"),
    "v2 check": ("version", "v2.9.0", "/services/checkout?version=v2.9.0"),
    "2026-11-23-0142": ("deploy", "deploy-2026-11-23-0142", "/deploys/deploy-2026-11-23-0142"),
    "5f2c9a7714d0be31": ("rollback", "rollback-5f2c9a7714d0be31", "/rollbacks/rollback-5f2c9a7714d0be31"),
}


def found(text: str, access: Access = SYSTEM_ACCESS) -> list[Found]:
    return search(access, text, each=5, most=12)


def test_every_kind_is_found_by_its_name_or_a_part_of_it(db: None, client: Client) -> None:
    demo_data.people()
    demo_data.small_fleet()
    address = Instance.objects.get(instance_id="user-service-1").node.host
    client.force_login(User.objects.get(username="viewer"), "django.contrib.auth.backends.ModelBackend")
    for text, wanted in FOUND.items():
        text = text.replace("10.1.0.1", address)
        first = found(text)[0]
        assert (first.kind, first.name, first.url) == wanted, text
        assert client.get(first.url).status_code == 200
    (there,) = found(f"{address}:8000")
    assert (there.kind, there.name) == ("instance", "user-service-1")
    assert found("") == found("nonesuch") == found("%") == []


def test_the_whole_name_comes_before_its_beginning_and_that_before_a_part(db: None) -> None:
    for name in ("a-pay", "pay-b", "pay"):
        demo_data.add_service(name, 1)
    names = [(each.kind, each.name) for each in found("pay")]
    assert names[0] == ("service", "pay")
    assert names.index(("instance", "pay-b-1")) < names.index(("service", "a-pay"))


def test_what_is_retired_is_found_after_what_is_there(db: None) -> None:
    service = demo_data.add_service("pay", 2)
    service.instances.filter(instance_id="pay-1").update(retired_at="2026-01-01T00:00Z")
    instances = [each for each in found("pay-") if each.kind == "instance"]
    assert [(each.name, each.is_retired) for each in instances] == [("pay-2", False), ("pay-1", True)]


def test_only_what_one_may_see_is_found(db: None) -> None:
    fleet = demo_data.small_fleet()
    billing = fleet.services["billing"].pk
    limited = Access(actor=SYSTEM, scopes=frozenset({Scope.READ}), services=frozenset({billing}))
    for text in ("checkout", "v2.9.0", "deploy-2026-11-23-checkout", "user-service-node-1", "user-service-1"):
        assert found(text), text
        assert found(text, limited) == [], text
    kinds = {each.kind for each in found("billing", limited)}
    assert kinds >= {"service", "instance", "node", "deploy"}


_LARGE = """
INSERT INTO inventory_service (name, created_at, keep_releases, command_timeout, restart_command, before_switch_command,
    mutable_versions, sync_enabled)
SELECT 's-' || n, now(), 5, 60, '', '', false, false FROM generate_series(1, 500) n;
INSERT INTO inventory_instance (instance_id, service_id, node_id, port, deploy_root, running_version, running_release,
    running_sha256, expected_version, release_history, run_status, health, reported_version, reported_status, changed_at,
    created_at)
SELECT 'i-' || n, s.id, k.id, 80, '/srv/' || n, 'v1.' || n % 9, '', '', '', '{}', 'running', 'unknown', '', '', now(), now()
FROM generate_series(1, 10000) n JOIN inventory_service s ON s.name = 's-' || n % 500 + 1
CROSS JOIN (SELECT id FROM inventory_node LIMIT 1) k;
INSERT INTO deploys_package (service_id, version, sha256, release, size_bytes, url)
SELECT s.id, 'v1.' || n / 500, n, 'v1.' || n / 500, 1, '' FROM generate_series(1, 50000) n
JOIN inventory_service s ON s.name = 's-' || n % 500 + 1;
INSERT INTO deploys_operation (kind, public_id, service_id, version, from_version, package_url, requested_sha256,
    package_error_code, package_error_message, fingerprint, message, status, total, completed, failed, cancelled, superseded,
    requested_by, requested_by_kind, reason, attempt, log_seq, finished_at)
SELECT 'deploy', 'deploy-' || md5(n::text), s.id, 'v1.1', '', '', '', '', '', '', '', 'completed', 1, 1, 0, 0, 0, 'x', 'token',
    '', 1, 0, now() FROM generate_series(1, 100000) n JOIN inventory_service s ON s.name = 's-' || n % 500 + 1;
ANALYZE inventory_service, inventory_instance, deploys_package, deploys_operation;
"""


def test_ten_thousand_instances_and_a_hundred_thousand_operations_are_searched_as_one_types(db: None) -> None:
    """The limit is far above what it takes (some 0.1 s), and far below a plan that goes wrong."""
    demo_data.add_service("pay", 1)
    with connection.cursor() as cursor:
        cursor.execute(_LARGE)
    for text in ("i-77", "v1.", "deploy-", "e", "nonesuch"):
        began = time.perf_counter()
        found(text)
        assert time.perf_counter() - began < 1.5, text


def selected(page: Page) -> str:
    option = page.locator("#search").get_attribute("aria-activedescendant")
    return page.locator(f"#{option}[aria-selected=true] .mono").inner_text() if option else ""


def test_it_is_driven_by_keys_and_gives_the_focus_back(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    page.locator(f"#service-{fleet.services['billing'].pk}").focus()
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Search everything")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.type("billing-")
    expect(page.get_by_role("option")).to_have_count(7)
    expect(box).to_have_attribute("aria-expanded", "true")
    assert box.get_attribute("aria-controls") == page.get_by_role("listbox").get_attribute("id")
    expect(page.locator("#said")).to_have_text("7 found")
    assert selected(page) == "billing-1"
    page.keyboard.press("ArrowDown")
    assert selected(page) == "billing-2"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert selected(page) == page.get_by_role("option").last.locator(".mono").inner_text()
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    expect(box).to_have_attribute("aria-expanded", "false")
    assert page.evaluate("document.activeElement.textContent.trim()") == "billing"


@pytest.mark.parametrize("where", ["/", "/history", "/deploys/deploy-2026-11-23-0142", "/admin/inventory/node/"])
def test_enter_opens_what_is_highlighted_from_any_page(
    fleet: Fleet, open_page: OpenPage, complaints: Complaints, where: str
) -> None:
    """Typed and opened at once: nothing has been found yet, and what was found before is not opened."""
    complaints.expected = (
        "htmx:afterRequest",
        "htmx:sendAbort",
    )  # of a request that the next one or the page's end replaces
    page = open_page("admin")
    page.goto(where)
    page.keyboard.press("/")
    page.keyboard.type("chec")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("Control+a")
    page.keyboard.type("search-api-3")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/instances/search-api-3$"))


def test_enter_opens_nothing_where_nothing_was_found(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("viewer")
    page.keyboard.press("/")
    page.keyboard.type("nonesuch")
    page.keyboard.press("Enter")
    expect(page.locator(".found-none")).to_have_text("Nothing is named “nonesuch”")
    expect(page).to_have_url(re.compile(r"/$"))


def test_without_the_script_there_is_a_page_of_what_was_found(db: None, client: Client) -> None:
    demo_data.people()
    demo_data.small_fleet()
    client.force_login(User.objects.get(username="viewer"), "django.contrib.auth.backends.ModelBackend")
    page = client.get("/search?q=billing").content.decode()
    assert 'href="/services/billing"' in page
    assert 'action="/search"' in page


def test_when_the_server_fails_enter_asks_for_the_page_of_what_was_found(
    fleet: Fleet, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expected = ("500", "Response Status Error")
    page = open_page("viewer")
    page.route(
        "**/search?*",
        lambda route: (
            route.fulfill(status=500) if route.request.is_navigation_request() is False else route.continue_()
        ),
    )
    page.keyboard.press("/")
    page.keyboard.type("billing-2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Search")
    page.locator("main a", has_text="billing-2").first.click()
    expect(page).to_have_url(re.compile("/instances/billing-2$"))
