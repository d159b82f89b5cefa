"""A host key is fetched, and a connection tried, from what a form says; neither saves anything."""

from __future__ import annotations

from typing import Any

import asyncssh
import pytest
from django.test import Client
from django.urls import reverse

from inventory.models import JumpHost, Node
from inventory.validation import host_key_fingerprint
from tests.inventory.admin.conftest import edits
from tests.inventory.admin.test_editing import HOST_KEY, change_url, node_form
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.ports import free_port
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(sshd: SshServer, settings: Any) -> Node:
    settings.SSH_KEY_FILE = str(sshd.private_key)
    return make_node("web-1", **{**sshd.node_fields, "ssh_host_key": HOST_KEY})


def typed(sshd: SshServer, **changed: Any) -> dict[str, Any]:
    return node_form(**{"name": "", **sshd.node_fields, **changed})


def ask(page: Client, asked: str, form: dict[str, Any], *of: Node) -> str:
    answer = page.post(reverse(f"admin:inventory_node_{asked}", args=[each.pk for each in of]), form)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_key_is_shown_and_put_into_the_form_but_not_yet_trusted(admin_page: Client, sshd: SshServer) -> None:
    page = ask(admin_page, "host_key", typed(sshd, ssh_host_key=""))

    assert host_key_fingerprint(sshd.host_key) in page
    assert "trusted once you save" in page
    assert 'id="id_ssh_host_key"' in page
    assert sshd.host_key in page
    assert not Node.objects.exists()


def test_another_key_in_the_form_is_never_replaced_by_itself(admin_page: Client, node: Node, sshd: SshServer) -> None:
    page = ask(admin_page, "host_key", typed(sshd, ssh_host_key=HOST_KEY), node)

    assert f"The form has another: {host_key_fingerprint(HOST_KEY)}" in page
    assert "hx-swap-oob" not in page
    assert f'data-with="{sshd.host_key}"' in page
    node.refresh_from_db()
    assert node.ssh_host_key == HOST_KEY
    assert not edits().exists()


@pytest.mark.parametrize("is_stored", [True, False])
def test_the_key_that_the_form_has_is_said_to_be_it(admin_page: Client, sshd: SshServer, is_stored: bool) -> None:
    of = [make_node("web-1", **sshd.node_fields)] if is_stored else []

    page = ask(admin_page, "host_key", typed(sshd, ssh_host_key=f"{sshd.host_key} root@web"), *of)

    assert "It is the key that the form has." in page
    assert "ssh-keygen" not in page


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ssh_port": "0"}, "Port — "),
        ({"host": ""}, "Host — "),
        ({"transport": "local"}, "no host key to fetch"),
        ({"ssh_host_key": f"@cert-authority {HOST_KEY}"}, "of the authority CA SHA256:"),
        ({"ssh_host_key": "no <key>"}, "“no &lt;key&gt;”"),
    ],
)
def test_what_keeps_a_key_from_being_fetched_is_said(
    admin_page: Client, sshd: SshServer, changed: dict[str, str], says: str
) -> None:
    page = ask(admin_page, "host_key", typed(sshd, **changed))

    assert says in page
    assert "hx-swap-oob" not in page


def test_a_server_that_does_not_answer_is_said(admin_page: Client, sshd: SshServer) -> None:
    page = ask(admin_page, "host_key", typed(sshd, ssh_port=free_port(), ssh_host_key=""))

    assert "can&#x27;t be asked" in page or "did not answer" in page


def test_a_connection_is_tried_as_a_deploy_would_with_what_was_typed(
    admin_page: Client, node: Node, sshd: SshServer
) -> None:
    page = ask(admin_page, "test", typed(sshd, name="other"), node)

    assert "other was reached within" in page
    assert "and has all that a deploy needs" in page
    node.refresh_from_db()
    assert (node.name, node.ssh_host_key, node.seen_at) == ("web-1", HOST_KEY, None)


def test_one_that_is_not_there_yet_is_tried_too(admin_page: Client, node: Node, sshd: SshServer) -> None:
    page = ask(admin_page, "test", typed(sshd))

    assert f"{sshd.host} was reached within" in page
    assert Node.objects.count() == 1


def test_what_was_reached_as_it_is_stored_counts_as_seen(admin_page: Client, node: Node, sshd: SshServer) -> None:
    Node.objects.update(ssh_host_key=sshd.host_key)

    ask(admin_page, "test", typed(sshd, name="web-1"), node)

    node.refresh_from_db()
    assert node.seen_at is not None


def test_a_changed_host_key_fails_the_test(admin_page: Client, node: Node, sshd: SshServer) -> None:
    page = ask(admin_page, "test", typed(sshd, ssh_host_key=HOST_KEY), node)

    assert "change its ssh_host_key" in page
    assert "was reached" not in page


def test_only_what_is_wrong_with_the_address_keeps_it_from_being_tried(admin_page: Client, sshd: SshServer) -> None:
    page = ask(admin_page, "test", typed(sshd, host="user@host", ssh_host_key=""))

    assert "Not tried" in page
    assert "<li>Host — " in page
    assert "<li>SSH host key — " in page
    assert "Name" not in page


def test_where_local_nodes_are_not_allowed_none_is_tried(admin_page: Client, settings: Any) -> None:
    settings.LOCAL_NODES = False

    page = ask(admin_page, "test", node_form(), make_node("here"))

    assert "RELEASE_LOCAL_NODES" in page
    assert "was reached" not in page


def test_a_jump_host_is_asked_from_its_form_too(admin_page: Client, sshd: SshServer, settings: Any) -> None:
    settings.SSH_KEY_FILE = str(sshd.private_key)
    form = {**sshd.node_fields, "name": "bastion", "jump": ""}

    key = admin_page.post(reverse("admin:inventory_jumphost_host_key"), {**form, "ssh_host_key": ""}).content.decode()
    tried = admin_page.post(reverse("admin:inventory_jumphost_test"), form).content.decode()

    assert host_key_fingerprint(sshd.host_key) in key
    assert "bastion was reached within" in tried
    assert not JumpHost.objects.exists()


def test_a_get_asks_nothing(admin_page: Client, node: Node) -> None:
    for asked in ("host_key", "test"):
        assert admin_page.get(reverse(f"admin:inventory_node_{asked}", args=[node.pk])).status_code == 405


def test_the_buttons_are_in_the_forms(admin_page: Client, node: Node) -> None:
    of = {reverse("admin:inventory_node_add"): [], change_url(node): [node.pk]}
    for url, own in of.items():
        page = admin_page.get(url).content.decode()

        assert f'hx-post="{reverse("admin:inventory_node_host_key", args=own)}"' in page
        assert f'hx-post="{reverse("admin:inventory_node_test", args=own)}"' in page


def test_a_node_is_retired_when_nothing_is_on_it(admin_page: Client, node: Node) -> None:
    url = reverse("admin:inventory_node_retire", args=[node.pk])
    [instance] = make_instances(make_service(), node, 1)
    assert url in admin_page.get(change_url(node)).content.decode()

    refused = admin_page.post(url)
    assert refused.status_code == 409
    assert f"Instance {instance.instance_id} is on it" in refused.content.decode()
    instance.delete()
    assert admin_page.get(url).status_code == 200
    node.refresh_from_db()
    assert node.retired_at is None
    admin_page.post(url)

    node.refresh_from_db()
    assert node.retired_at is not None
    assert edits().filter(action="node.retire").count() == 1
    assert url not in admin_page.get(change_url(node)).content.decode()


def test_a_key_that_cannot_be_read_is_no_error_of_ours(admin_page: Client, sshd: SshServer) -> None:
    junk = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()[:40]

    assert "It matches: put it in the form" in ask(admin_page, "host_key", typed(sshd, ssh_host_key=junk))
