"""The inventory, edited in a real browser: no page of the admin breaks the policy or WCAG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from inventory.models import Instance, Service
from releasesite.models import ApiToken
from tests.console.conftest import OpenPage
from tests.console.test_accessibility import violations
from tests.support.demo_data import Fleet
from tests.support.sshd import SshServer

YAML = "services:\n  - {name: brand-new, keep_releases: 7}\n"
PAGES = (
    "service/",
    "service/add/",
    "service/import-yaml/",
    "node/",
    "node/add/",
    "node/host-key/",
    "instance/",
    "statuschange/",
    "auditentry/",
)


def test_its_pages_are_sound(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("admin")
    service = Service.objects.order_by("pk").first()
    instance = Instance.objects.order_by("pk").first()
    assert service is not None
    assert instance is not None
    paths = [f"/admin/inventory/{path}" for path in PAGES]
    paths += [
        f"/admin/inventory/service/{service.pk}/change/",
        f"/admin/inventory/node/{instance.node_id}/change/",
        f"/admin/inventory/instance/{instance.pk}/change/",
        f"/admin/inventory/instance/{instance.pk}/delete/",
        "/admin/deploys/deploy/",
        "/admin/deploys/target/",
        "/admin/rollbacks/rollback/",
        "/admin/django_q/ormq/",
        "/admin/releasesite/apitoken/add/",
        "/admin/auth/user/",
    ]
    found = []
    for path in paths:
        page.goto(path)
        found += [f"{path}: {text}" for text in violations(page)]
    assert found == []


def test_an_instance_is_edited(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("admin")
    instance = Instance.objects.order_by("pk").first()
    assert instance is not None

    page.goto("/admin/inventory/instance/")
    page.fill("#searchbar", instance.instance_id)
    page.keyboard.press("Enter")
    page.get_by_role("link", name=instance.instance_id, exact=True).first.click()
    page.fill("#id_port", "4321")
    page.click("input[name=_save]")

    expect(page.get_by_text("was changed successfully")).to_be_visible()
    assert Instance.objects.get(pk=instance.pk).port == 4321


def test_an_inventory_file_is_previewed_and_imported(fleet: Fleet, open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(YAML)
    page = open_page("admin")

    page.goto("/admin/inventory/service/")
    page.get_by_role("link", name="Import an inventory file").click()
    page.set_input_files("#id_file", tmp_path / "fleet.yaml")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("1 to create, 0 to update, 0 unchanged.")).to_be_visible()
    assert violations(page) == []
    assert not Service.objects.filter(name="brand-new").exists()
    page.get_by_role("button", name="Import it").click()

    expect(page.get_by_text("Imported fleet.yaml")).to_be_visible()
    assert Service.objects.get(name="brand-new").keep_releases == 7


def test_a_host_key_is_fetched_and_the_node_added(
    fleet: Fleet, open_page: OpenPage, sshd: SshServer, settings: Any
) -> None:
    page = open_page("admin")
    settings.SSH_KEY_FILE = str(sshd.private_key)

    page.goto("/admin/inventory/node/host-key/")
    page.fill("#id_host", sshd.host)
    page.fill("#id_ssh_port", str(sshd.port))
    page.get_by_role("button", name="Fetch host key").click()
    expect(page.get_by_text("SHA256:")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("link", name="It matches: add it").click()
    page.fill("#id_name", "brand-new-node")
    page.fill("#id_ssh_user", sshd.user)
    page.click("input[name=_continue]")
    page.get_by_role("button", name="Test connection").click()

    expect(page.get_by_text("brand-new-node was reached")).to_be_visible()
    page.get_by_role("button", name="Fetch host key").click()
    expect(page.get_by_text("It matches the stored key.")).to_be_visible()


def test_a_token_is_made_and_shown_once(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("admin")

    page.goto("/admin/releasesite/apitoken/add/")
    page.fill("#id_name", "scheduler")
    page.get_by_role("button", name="Create the token").click()

    assert page.locator("#secret").input_value().startswith("rxt_")
    assert violations(page) == []
    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_role("link", name="scheduler")).to_be_visible()
    assert ApiToken.objects.get().name == "scheduler"
