"""Forward again: from a mistaken rollback, and by a deploy of a version that is known here to a selection."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect
from pytest_django.fixtures import Settings

from deploys.models import Hold, Operation, Package
from deploys.packages.archive.repack import Repacked
from deploys.packages.store import PackageStore
from deploys.states import Kind, Source, TargetStatus
from deploys.web.pages.queries.deploy_preview import Wanted, preview
from inventory.models import Instance, Service
from tests.console.conftest import OpenPage
from tests.support import demo_data
from tests.support.demo_data import Fleet


def mistake(service: Service, *, count: int = 2) -> None:
    """The service's first instances have been rolled back from v5.2.0 to v5.1.9, which took v5.2.0 off their history."""
    demo_data.add_operation(
        service, "oops", [TargetStatus.COMPLETED] * count, kind=Kind.ROLLBACK, version="v5.1.9", from_version="v5.2.0",
        minutes_ago=1,
    )  # fmt: skip
    service.instances.filter(instance_id__in=[f"billing-{n + 1}" for n in range(count)]).update(
        running_version="v5.1.9", running_release="v5.1.9", expected_version="v5.1.9", release_history=["v5.1.9"]
    )


def test_after_a_mistaken_rollback_the_row_leads_forward(fleet: Fleet, open_page: OpenPage) -> None:
    """Overview, service, row, confirm: three clicks."""
    mistake(fleet.services["billing"])
    page = open_page("operator")
    page.get_by_role("link", name="billing", exact=True).click()
    row = page.locator("tr", has_text="billing-1")
    expect(row).not_to_contain_text("Roll back to")
    row.get_by_role("link", name="Return to v5.2.0…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Return billing to v5.2.0")
    expect(page.get_by_label("Hold the service, too")).not_to_be_checked()
    page.get_by_role("button", name="Return 1 instance to v5.2.0").click()
    expect(page.get_by_text("The rollback has started.")).to_be_visible()
    forward = Operation.objects.filter(kind=Kind.ROLLBACK, service__name="billing").latest("pk")
    assert (forward.version, forward.total) == ("v5.2.0", 1)


def test_the_preview_offers_what_a_rollback_has_left_and_says_that_it_is_newer(
    fleet: Fleet, open_page: OpenPage
) -> None:
    mistake(fleet.services["billing"], count=8)
    page = open_page("operator")
    page.goto("/services/billing/roll-back")
    choice = page.locator("label.choice", has_text="v5.2.0")
    expect(choice).to_contain_text("newer than what runs")
    expect(choice).to_contain_text("ran on 8 of these")
    choice.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Return billing to v5.2.0")


def logged_in(client: Client) -> Client:
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
    return client


def test_back_is_said_only_of_what_is_back(db: None, client: Client) -> None:
    """After a deploy of an old version what ran before is the newer one."""
    demo_data.people()
    fleet = demo_data.small_fleet()
    page = logged_in(client).get("/services/search-api").content.decode()
    assert "Roll back to v0.31.3…" in page
    fleet.services["search-api"].instances.update(
        running_version="v0.31.2", running_release="v0.31.2", release_history=["v0.31.4", "v0.31.2"]
    )
    page = client.get("/services/search-api").content.decode()
    assert "Return to v0.31.4…" in page
    assert "Roll back to" not in page


def test_a_known_version_is_deployed_to_a_selection_without_its_url(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("operator")
    page.goto("/services/user-service?version=v1.4.1")
    expect(page.get_by_role("button", name="Deploy to the selected…")).to_be_disabled()
    for name in ("user-service-20", "user-service-21"):
        page.get_by_label(f"Select {name}", exact=True).check()
    for target in fleet.operations["running"].targets.filter(status__in=["pending", "in_progress"]):
        demo_data.finish_target(target, TargetStatus.CANCELLED)
    page.get_by_role("button", name="Deploy to the selected…").click()
    page.get_by_role("button", name="Deploy v1.4.2…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Deploy v1.4.2 to user-service")
    expect(page.locator("main")).not_to_contain_text("not-to-be-shown")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("Download")
    page.get_by_role("button", name="Deploy v1.4.2 to 2 instances").click()
    expect(page.get_by_text("The deploy has started.")).to_be_visible()
    package = Package.objects.get(service__name="user-service", version="v1.4.2")
    deploy = Operation.objects.latest("pk")
    assert (deploy.version, deploy.total, deploy.package_url) == ("v1.4.2", 2, package.url)
    assert deploy.requested_sha256 == package.sha256


def test_an_instance_and_a_completed_deploy_lead_there_too(db: None, client: Client) -> None:
    demo_data.people()
    fleet = demo_data.small_fleet()
    instance = Instance.objects.get(instance_id="billing-3")
    page = logged_in(client).get("/instances/billing-3").content.decode()
    to_here = f"/deploy?service=billing&amp;i={instance.pk}"
    assert to_here in page
    assert "billing-3" in client.get(to_here.replace("&amp;", "&")).content.decode()
    (again,) = re.findall(
        r'id="do-deploy" href="([^"]+)"', client.get("/deploys/deploy-2026-11-18-billing").content.decode()
    )
    shown = client.get(again.replace("&amp;", "&"))
    assert shown.context["plan"].moves == [("v5.2.0", 8)]
    assert 'id="do-deploy"' not in client.get(f"/deploys/{fleet.operations['failed'].public_id}").content.decode()


def test_a_version_that_is_not_known_takes_its_url(db: None, client: Client) -> None:
    demo_data.people()
    demo_data.small_fleet()
    page = " ".join(logged_in(client).get("/deploy?service=billing&to=v9").content.decode().split())
    assert "Enter it: no such package of this version is known here." in page
    for nonsense in ("to=%00", "to=../x&i=zz", "i=1&picked=1", "all=1&q=%00&to=v5.2.0", "service=nobody&to=v1"):
        assert client.get(f"/deploy?service=billing&{nonsense}").status_code == 200, nonsense


@pytest.fixture
def billing(db: None) -> Service:
    return demo_data.add_service("billing", 3, version="v2", history=("v0", "v1"))


def sources(service: Service, version: str, **asked: str) -> dict[str, Source]:
    package = Package.objects.get(service=service, version=version)
    words = {"version": version, "package_url": "", "sha256": "", "signature": ""} | asked
    wanted = Wanted.of(words, service=service, known=None if words["package_url"] else package)
    rows = preview(service, wanted, instance_ids=["billing-1", "billing-2"]).rows
    return {row.instance_id: row.source for row in rows}


def test_the_preview_says_where_each_release_comes_from(billing: Service, tmp_path: Path, settings: Settings) -> None:
    """From the node, our store or a download; a URL without a digest is always asked."""
    settings.DATA_DIR = tmp_path
    billing.instances.filter(instance_id="billing-2").update(release_history=["v2"])
    package = Package.objects.get(service=billing, version="v1")
    assert set(sources(billing, "v1").values()) == {Source.DOWNLOAD}
    store = PackageStore.of_this_host()
    with store.room(), store.draft() as (file, draft):
        file.write(b"x")
        file.flush()
        repacked = Repacked(artifact_sha256="0" * 64, artifact_bytes=1)
        store.publish(draft, sha256=package.sha256, size_bytes=1, repacked=repacked)
    assert sources(billing, "v1") == {"billing-1": Source.NODE, "billing-2": Source.STORE}
    assert set(sources(billing, "v1", package_url=package.url).values()) == {Source.DOWNLOAD}
    assert sources(billing, "v1", package_url=package.url, sha256=package.sha256)["billing-2"] == Source.STORE


def test_the_preview_says_what_has_drifted_and_who_holds_the_service(db: None, client: Client) -> None:
    demo_data.people()
    fleet = demo_data.small_fleet()
    Hold.objects.create(service=fleet.services["search-api"], reason="quarter end", held_by="lin.wei")
    page = " ".join(logged_in(client).get("/deploy?service=search-api&to=v0.31.4").content.decode().split())
    assert "2 instances have drifted: what they run was changed on the nodes, and this deploy overwrites it." in page
    assert "quarter end" in page
    assert 'id="confirm"' not in page
