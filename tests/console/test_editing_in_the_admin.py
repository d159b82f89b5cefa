"""The inventory, edited in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from inventory.models import Instance, Node, Service
from releasesite.models import ApiToken
from tests.console.conftest import OpenPage
from tests.console.test_accessibility import violations
from tests.support.browser import Complaints
from tests.support.demo_data import Fleet
from tests.support.sshd import SshServer

YAML = "services:\n  - {name: brand-new, keep_releases: 7}\n"


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


def test_a_host_key_is_fetched_and_the_node_added_in_one_form(
    fleet: Fleet, open_page: OpenPage, sshd: SshServer, settings: Any
) -> None:
    page = open_page("admin")
    settings.SSH_KEY_FILE = str(sshd.private_key)
    typed = {"name": "brand-new-node", "host": sshd.host, "ssh_port": str(sshd.port), "ssh_user": sshd.user}

    page.goto("/admin/inventory/node/add/")
    for name, value in typed.items():
        page.fill(f"#id_{name}", value)
    page.select_option("#id_delivery", "pull")
    page.get_by_role("button", name="Fetch the host key").click()
    expect(page.get_by_text("SHA256:")).to_be_visible()
    assert {name: page.input_value(f"#id_{name}") for name in typed} == typed
    assert page.input_value("#id_delivery") == "pull"
    assert page.input_value("#id_ssh_host_key") == sshd.host_key
    assert not Node.objects.filter(name="brand-new-node").exists()
    assert violations(page) == []
    page.get_by_role("button", name="Test the connection").click()
    expect(page.get_by_text("brand-new-node was reached")).to_be_visible()
    assert violations(page) == []

    other = sshd.host_key[:-2] + ("AA" if not sshd.host_key.endswith("AA") else "BB")
    page.fill("#id_ssh_host_key", other)
    page.get_by_role("button", name="Fetch the host key").click()
    expect(page.get_by_text("The form has another")).to_be_visible()
    assert violations(page) == []
    assert page.input_value("#id_ssh_host_key") == other
    page.get_by_role("button", name="It matches: put it in the form").click()
    assert page.input_value("#id_ssh_host_key") == sshd.host_key
    page.click("input[name=_save]")
    expect(page.get_by_text("was added successfully")).to_be_visible()
    node = Node.objects.get(name="brand-new-node")
    assert (node.ssh_host_key, node.delivery) == (sshd.host_key, "pull")


def test_an_answer_that_never_comes_is_told(fleet: Fleet, open_page: OpenPage, complaints: Complaints) -> None:
    complaints.expected = ("Failed to load", "htmx:", "/host-key/")
    page = open_page("admin")
    page.goto("/admin/inventory/node/add/")
    page.route("**/host-key/", lambda route: route.abort())
    page.get_by_role("button", name="Fetch the host key").click()
    expect(page.get_by_text("No answer came from this page’s server.")).to_be_visible()


def test_an_instance_is_retired(fleet: Fleet, open_page: OpenPage) -> None:
    page = open_page("admin")
    instance = Instance.objects.get(instance_id="billing-8")

    page.goto(f"/admin/inventory/instance/{instance.pk}/change/")
    page.get_by_role("link", name="Retire…").click()
    assert violations(page) == []
    page.get_by_role("button", name="Retire billing-8").click()

    expect(page.get_by_text("billing-8 is retired.")).to_be_visible()
    instance.refresh_from_db()
    assert instance.retired_at is not None


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
