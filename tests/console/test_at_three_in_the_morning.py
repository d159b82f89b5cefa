"""Five kinds of trouble, each from the overview to its end, with a real worker: at most four clicks, or nothing to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection
from playwright.sync_api import Locator, Page, expect

from deploys.models import Operation
from deploys.operations.start import DeployRequest, start_deploy
from inventory.instances.sync import sync_service
from inventory.models import Instance, Node, Service
from tests.console.conftest import OpenPage
from tests.support import demo_data, fleet
from tests.support.fleet import SCHEDULER, ids
from tests.support.lab import wait_for_end
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.ports import free_port
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(240)
RESTART = 'case "$(cat ./says)" in broken) echo "KeyError: PAYMENT_URL" >&2; exit 1;; hangs) sleep 600;; esac'
TROUBLE = {
    "completed": "bad", "reverted": "broken", "hanging": "hangs", "stopped": "hangs", "unreachable": "good", "drifted": "good",
    "edited": "good", "trailing": "trailing",
}  # fmt: skip
SLOW_MS = 60_000
MOST = 4
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDPVHSDUYHLrVFVxkKqgu3o4MY8wMoPXjLi8gLZ+jxO6"


@dataclass(kw_only=True)
class Walk:
    """What an operator has clicked since the overview, and the pages that it took."""

    page: Page
    clicks: int = 0
    pages: int = 1

    @classmethod
    def from_overview(cls, page: Page) -> Walk:
        page.goto("/")
        return cls(page=page)

    def click(self, what: Locator) -> None:
        before = self.page.url
        what.click()
        self.clicks += 1
        self.page.wait_for_load_state("load")
        self.pages += self.page.url != before

    def last_operation(self, service: str) -> None:
        row = self.page.locator("tr", has=self.page.get_by_role("link", name=service, exact=True))
        self.click(row.locator(".op-line"))

    def service(self, name: str) -> None:
        self.click(self.page.locator("tbody").get_by_role("link", name=name, exact=True))

    def ends_with(self, sentence: str) -> None:
        expect(self.page.locator(".hero-sentence")).to_have_text(sentence, timeout=SLOW_MS)

    def told(self, trouble: str, end: str) -> str:
        assert self.clicks <= MOST, trouble
        return f"{trouble:<32} {self.clicks} clicks, {self.pages} pages: {end}"


@pytest.fixture
def services(transactional_db: None, tmp_path: Path) -> dict[str, Service]:
    """One for each kind of trouble, of two instances, on this machine."""
    tmp_path.chmod(0o755)
    demo_data.people()
    node, made = fleet.make_node(), {}
    for name in TROUBLE:
        made[name] = fleet.make_service(name, restart_command=RESTART, command_timeout=120)
        fleet.make_instances(made[name], node, 2, root=tmp_path, prefix=name)
    Service.objects.filter(name="edited").update(before_switch_command="sed -i s/good/better/ says")
    return made


@pytest.fixture
def urls(package_host: PackageHost, settings: LazySettings) -> dict[str, str]:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    packages = {says: package({"says": says}) for says in ("good", "bad", "broken", "hangs")}
    packages["trailing"] = package({"says": "good", "more": "m"}) + b"\n"
    return {name: package_host.add(f"{name}.tar.gz", content) for name, content in packages.items()}


@pytest.fixture
def troubled(
    services: dict[str, Service], urls: dict[str, str], package_host: PackageHost
) -> Iterator[dict[str, Service]]:
    """v1 runs everywhere; then comes v2."""
    with running_worker({"RELEASE_PACKAGE_HOSTS": package_host.netloc}):
        for operation in [deploy(service, "v1", urls["good"]) for service in services.values()]:
            wait_for_end(operation, seconds=60)
        cut_off(services["unreachable"])
        begun = {name: deploy(service, "v2", urls[TROUBLE[name]]) for name, service in services.items()}
        for name, operation in begun.items():
            if TROUBLE[name] != "hangs":
                wait_for_end(operation, seconds=90)
        change_by_hand(services["drifted"])
        yield services


def deploy(service: Service, version: str, url: str) -> Operation:
    names = ids(list(service.instances.all()))
    wanted = DeployRequest(service=service.name, version=version, instances=names, package_url=url)
    return start_deploy(access=SCHEDULER, request=wanted)


def cut_off(service: Service) -> None:
    """The second instance's node takes no connections."""
    dead = fleet.make_node("node-2", transport="ssh", ssh_user="deploy", ssh_port=free_port(), ssh_host_key=HOST_KEY)
    Instance.objects.filter(instance_id=f"{service.name}-2").update(node=dead)


def change_by_hand(service: Service) -> None:
    first = service.instances.order_by("natural_key")[0]
    link = Path(first.deploy_root, "current")
    link.unlink()
    os.symlink("releases/v1", link)
    with ThreadPoolExecutor(1) as thread:  # in this one the browser's event loop runs
        thread.submit(sync, service.pk).result()


def sync(service: int) -> None:
    try:
        sync_service(service)
    finally:
        connection.close()


def test_each_trouble_is_told_as_it_is_and_takes_four_clicks_at_the_most(
    troubled: dict[str, Service], open_page: OpenPage
) -> None:
    page = open_page("operator")
    told = [
        a_restart_hangs(page),
        a_hanging_restart_is_stopped(page),
        a_bad_version_completed(page),
        a_restart_failed_and_was_reverted(page),
        a_node_was_unreachable(page),
        an_instance_drifted(page),
    ]
    print("\n".join(told))
    what_a_command_edits_before_the_switch_is_no_trouble(page)
    what_is_wrong_with_a_package_is_said(page)


def a_bad_version_completed(page: Page) -> str:
    walk = Walk.from_overview(page)
    walk.last_operation("completed")
    walk.click(page.get_by_role("link", name="Roll back this deploy…"))
    walk.click(page.get_by_role("button", name="Roll back 2 instances to v1"))
    walk.ends_with("Completed: all 2 instances run v1")
    return walk.told("bad version completed", "all run v1")


def a_restart_failed_and_was_reverted(page: Page) -> str:
    walk = Walk.from_overview(page)
    walk.last_operation("reverted")
    expect(page.locator("main")).to_contain_text("KeyError: PAYMENT_URL")
    expect(page.locator("main")).not_to_contain_text("at step Revert")
    for line in (
        "`current` leads to 'v2' now; before, it led to 'v1'.",
        "The restart command ended with exit status 1",
    ):
        expect(page.locator("#log")).to_contain_text(line)
    said = "All 2 instances were reverted to v1; there is nothing to roll back."
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.locator("#do-back")).to_have_count(0)
    assert running("reverted") == {"v1"}
    return walk.told("restart failed, was reverted", f"nothing to do: {said}")


def a_restart_hangs(page: Page) -> str:
    walk = Walk.from_overview(page)
    expect(page.locator(".run-list")).to_contain_text("Restart")
    walk.click(page.locator(".run-list a", has_text="hanging"))
    walk.click(page.get_by_role("button", name="Stop and roll back…"))
    walk.click(page.locator("#confirm"))
    walk.ends_with("Completed: all 2 instances run v1")
    assert running("hanging") == {"v1"}
    return walk.told("restart hangs", "stopped, all run v1")


def a_hanging_restart_is_stopped(page: Page) -> str:
    """Neither "it runs what it ran" without having asked, nor a dead end."""
    walk = Walk.from_overview(page)
    walk.click(page.locator(".run-list a", has_text="stopped"))
    walk.click(page.get_by_role("button", name="Stop", exact=True))
    walk.ends_with("Stopped: 0 of 2 done")
    expect(page.locator("main")).to_contain_text("The switch to v2 was taken back")
    assert running("stopped") == {"v1"}
    return walk.told("restart hangs, only stopped", "taken back, all run v1")


def what_a_command_edits_before_the_switch_is_no_trouble(page: Page) -> None:
    walk = Walk.from_overview(page)
    walk.last_operation("edited")
    walk.ends_with("Completed: all 2 instances run v2")


def what_is_wrong_with_a_package_is_said(page: Page) -> None:
    """A newline behind the archive: nothing was cut short."""
    walk = Walk.from_overview(page)
    walk.last_operation("trailing")
    walk.ends_with("Failed on 2 of 2 instances")
    expect(page.locator(".hero")).to_contain_text("follow")
    expect(page.locator("main")).not_to_contain_text("cut short")


def a_node_was_unreachable(page: Page) -> str:
    """Who brings the node back is not at this console; the page says which one, and that nothing was changed there."""
    walk = Walk.from_overview(page)
    walk.last_operation("unreachable")
    expect(page.locator(".hero")).to_contain_text("node-2")
    Node.objects.filter(name="node-2").update(transport="local", ssh_user="", ssh_host_key="")
    walk.click(page.get_by_role("button", name=re.compile("Retry 1 failed")))
    walk.ends_with("Completed: all 2 instances run v2")
    return walk.told("node unreachable", "retried when it was back, all run v2")


def an_instance_drifted(page: Page) -> str:
    walk = Walk.from_overview(page)
    walk.service("drifted")
    row = page.locator("tr", has_text="drifted-1")
    expect(row).to_contain_text("should run v2")
    walk.click(row.get_by_role("link", name="Return to v2…"))
    walk.click(page.get_by_role("button", name="Return 1 instance to v2"))
    walk.ends_with("Completed: 1 instance runs v2")
    assert running("drifted") == {"v2"}
    return walk.told("an instance drifted", "it runs v2 again")


def running(service: str) -> set[str]:
    return set(Instance.objects.filter(service__name=service).values_list("running_version", flat=True))
