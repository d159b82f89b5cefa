"""The operator's path with nothing pretended: real nodes' folders, a real package host, a real worker, a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import LazySettings
from playwright.sync_api import Page, expect

from deploys.models import Operation
from inventory.models import Service
from tests.console.conftest import OpenPage
from tests.support import demo_data, fleet
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(240)
RESTART = 'cat ./says; sleep 0.3; test "$(cat ./says)" != broken'
SLOW_MS = 60_000


@pytest.fixture
def shop(transactional_db: None, tmp_path: Path) -> Service:
    tmp_path.chmod(0o755)
    service = fleet.make_service("shop", restart_command=RESTART)
    fleet.make_instances(service, fleet.make_node(), 3, root=tmp_path, prefix="shop")
    demo_data.people()
    return service


def _deploy(page: Page, version: str, url: str) -> None:
    page.goto("/deploy?service=shop")
    page.get_by_label("Version").fill(version)
    page.get_by_label("Package URL").fill(url)
    page.get_by_role("button", name="Preview the deploy").click()
    page.get_by_role("button", name=f"Deploy {version} to 3 instances").click()
    page.evaluate("window.neverReloaded = true")


def test_deploy_fail_and_roll_back_as_an_operator_sees_it(
    shop: Service, open_page: OpenPage, package_host: PackageHost, settings: LazySettings
) -> None:
    urls = {
        version: package_host.add(f"{version}.tar.gz", package({"says": says}))
        for version, says in (("v1", "one"), ("v2", "two"), ("v3", "broken"))
    }
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    page = open_page("operator")
    with running_worker({"RELEASE_PACKAGE_HOSTS": package_host.netloc}):
        for version in ("v1", "v2"):
            _deploy(page, version, urls[version])
            sentence = f"Completed: all 3 instances run {version}"
            expect(page.locator(".hero-sentence")).to_have_text(sentence, timeout=SLOW_MS)
            assert page.evaluate("window.neverReloaded") is True

        _deploy(page, "v3", urls["v3"])
        expect(page.locator(".hero-sentence")).to_have_text("Failed on 3 of 3 instances", timeout=SLOW_MS)
        expect(page.locator(".hero")).to_contain_text("The service's command failed")
        expect(page.locator("#log-lines")).to_contain_text("broken")
        expect(page.locator("#log-lines")).to_contain_text(
            "Reverted: `current` leads to 'v2' again, no longer to 'v3'."
        )
        expect(page.locator(".first-error .last-lines pre")).to_contain_text("broken")
        expect(page.locator(".error-group summary")).to_contain_text("3 instances")
        assert _running(shop) == {"v2"}, "each was reverted"

        page.goto("/services/shop")
        page.get_by_role("button", name="Roll back all 3 matching…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Roll back shop to v1")
        expect(page.locator("tbody")).to_contain_text("On the node")
        page.get_by_label("Reason").fill("v2 is odd")
        page.get_by_role("button", name="Roll back 3 instances to v1").click()
        expect(page.locator(".hero-sentence")).to_have_text("Completed: all 3 instances run v1", timeout=SLOW_MS)
    assert _running(shop) == {"v1"}
    assert Operation.objects.get(kind="rollback").reason == "v2 is odd"
    assert {path.resolve().name for path in Path(shop.instances.all()[0].deploy_root).glob("current")} == {"v1"}


def _running(service: Service) -> set[str]:
    return set(service.instances.values_list("running_version", flat=True))
