"""A real identity provider, over TLS with an authority of its own, and the web process as it runs in production."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from deploys.models import Operation, Package
from inventory.models import AuditEntry, Instance
from tests.support.browser import Complaints, new_context
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.identity_provider import PASSWORD, IdentityProvider, identity_provider
from tests.support.ports import free_port
from tests.support.web import Web, running_web

pytestmark = pytest.mark.django_db(transaction=True)

ROLL_BACK = "/services/user-service/roll-back?to=v1"
SLOW = 60_000  # two servers and a browser on a busy machine; nothing here is about how long it takes


@pytest.fixture
def site(tmp_path: Path, transactional_db: None) -> Iterator[tuple[Web, IdentityProvider]]:
    service = make_service()
    make_instances(service, make_node(), count=3)
    Package.objects.create(service=service, version="v1", release="v1", sha256="1" * 64, size_bytes=1, url="http://p/")
    Instance.objects.update(running_version="v2", running_release="v2", release_history=["v1", "v2"])
    port = free_port()
    with (
        identity_provider(tmp_path, site=f"http://127.0.0.1:{port}") as provider,
        running_web(port, **provider.variables(), RELEASE_REAUTH_ABOVE="2") as web,
    ):
        yield web, provider


@pytest.fixture
def open_there(browser: Browser, site: tuple[Web, IdentityProvider], complaints: Complaints) -> Iterator[object]:
    contexts = []

    def opened(language: str = "en") -> Page:
        context = new_context(browser, base_url=site[0].url, language=language, ignore_https_errors=True)
        context.set_default_timeout(SLOW)
        contexts.append(context)
        page = context.new_page()
        complaints.watch(page)
        return page

    yield opened
    for context in contexts:
        context.close()


def log_in_there(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name="Log in at the provider")).to_be_visible(timeout=SLOW)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go").click()


def test_a_person_logs_in_again_and_out_and_loses_the_role_with_the_group(
    site: tuple[Web, IdentityProvider], open_there: object, complaints: Complaints
) -> None:
    web, provider = site
    provider.set_groups(ada=["sre", "others"], bob=["staff"])
    complaints.expected = ("status of 403",)
    page: Page = open_there()  # type: ignore[operator]

    page.goto("/history")
    page.get_by_role("link", name="Log in with Example Login").click()
    log_in_there(page, "ada")
    expect(page.get_by_role("heading", name="History")).to_be_visible(timeout=SLOW)
    assert {group.name for group in User.objects.get(username="ada").groups.all()} == {"operator"}

    page.goto(ROLL_BACK)
    page.get_by_role("link", name="Log in again at Example Login").click()
    log_in_there(page, "ada")
    page.locator("#confirm").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible(timeout=SLOW)
    assert Operation.objects.get().requested_by == "ada"

    provider.set_groups(bob=["staff"])
    page.get_by_label("Account of ada").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{web.url}/login*")
    page.get_by_role("link", name="Log in with Example Login").click()
    log_in_there(page, "ada")  # the provider has forgotten her, too
    expect(page.get_by_text("none of your groups there has a role here")).to_be_visible(timeout=SLOW)
    assert not User.objects.get(username="ada").groups.exists()

    page = open_there("zh")  # type: ignore[operator]
    page.goto("/login")
    page.get_by_role("link", name="用 Example Login 登录").click()
    log_in_there(page, "bob")
    expect(page.get_by_role("heading", level=1)).to_have_text("概览", timeout=SLOW)
    page.goto(ROLL_BACK)  # a viewer
    expect(page.get_by_text("你的角色不允许")).to_be_visible(timeout=SLOW)

    told = [(entry.action, entry.actor_name) for entry in AuditEntry.objects.filter(object_kind="user").order_by("pk")]
    assert told == [
        ("user.create", "ada"), ("login", "ada"), ("logout", "ada"), ("user.change", "ada"),
        ("login.fail", "(nobody's name)"), ("user.create", "bob"), ("login", "bob"),
    ]  # fmt: skip
