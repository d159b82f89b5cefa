"""A host key is fetched, looked at and accepted; a connection is tried."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core import signing
from django.test import Client
from django.urls import reverse

from inventory.models import Node
from inventory.validation import host_key_fingerprint
from tests.inventory.admin.conftest import edits
from tests.inventory.admin.test_editing import HOST_KEY
from tests.support.fleet import make_node
from tests.support.ports import free_port
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(sshd: SshServer, settings: Any) -> Node:
    settings.SSH_KEY_FILE = str(sshd.private_key)
    return make_node("web-1", **{**sshd.node_fields, "ssh_host_key": HOST_KEY})


def key_url(node: Node) -> str:
    return reverse("admin:inventory_node_accept_host_key", args=[node.pk])


def test_a_key_is_shown_and_not_yet_trusted(admin_page: Client, node: Node, sshd: SshServer) -> None:
    page = admin_page.post(key_url(node)).content.decode()

    assert host_key_fingerprint(sshd.host_key) in page
    assert "A different key is stored" in page
    node.refresh_from_db()
    assert node.ssh_host_key == HOST_KEY


def test_opening_the_page_connects_to_nothing(admin_page: Client, node: Node, sshd: SshServer) -> None:
    assert host_key_fingerprint(sshd.host_key) not in admin_page.get(key_url(node)).content.decode()


def test_it_is_accepted_by_a_second_post(admin_page: Client, node: Node, sshd: SshServer) -> None:
    page = admin_page.post(key_url(node)).content.decode()
    found = re.search(r'name="accept" value="([^"]+)"', page)
    assert found is not None

    response = admin_page.post(key_url(node), {"accept": found[1]})

    assert response.status_code == 302
    node.refresh_from_db()
    assert node.ssh_host_key == sshd.host_key
    entry = edits().get(action="node.accept_host_key")
    assert entry.detail["changes"]["ssh_host_key"] == [
        host_key_fingerprint(HOST_KEY),
        host_key_fingerprint(sshd.host_key),
    ]


@pytest.mark.parametrize("forged", ["x", signing.dumps([1, HOST_KEY]), ""])
def test_a_key_that_was_never_shown_is_not_accepted(admin_page: Client, node: Node, forged: str) -> None:
    admin_page.post(key_url(node), {"accept": forged})

    node.refresh_from_db()
    assert node.ssh_host_key == HOST_KEY
    assert not edits().exists()


def test_a_key_shown_for_one_node_is_not_accepted_for_another(admin_page: Client, node: Node, sshd: SshServer) -> None:
    other = make_node("web-2", transport="ssh", ssh_user="u", ssh_host_key=HOST_KEY)
    page = admin_page.post(key_url(node)).content.decode()
    found = re.search(r'name="accept" value="([^"]+)"', page)
    assert found is not None

    admin_page.post(key_url(other), {"accept": found[1]})

    other.refresh_from_db()
    assert other.ssh_host_key == HOST_KEY


def test_a_node_that_does_not_answer_is_said(admin_page: Client, node: Node) -> None:
    Node.objects.update(ssh_port=free_port())

    page = admin_page.post(key_url(node)).content.decode()

    assert "can&#x27;t be asked" in page or "did not answer" in page


def test_a_new_node_gets_its_key_filled_in(admin_page: Client, sshd: SshServer) -> None:
    page = admin_page.post(
        reverse("admin:inventory_node_host_key"), {"host": sshd.host, "ssh_port": sshd.port}
    ).content.decode()

    assert host_key_fingerprint(sshd.host_key) in page
    found = re.search(r'href="([^"]+/add/\?[^"]+)"', page)
    assert found is not None
    form = admin_page.get(found[1].replace("&amp;", "&")).content.decode()
    assert sshd.host_key in form


def test_a_connection_is_tried_as_a_deploy_would(admin_page: Client, node: Node, sshd: SshServer) -> None:
    Node.objects.update(ssh_host_key=sshd.host_key)

    page = admin_page.post(reverse("admin:inventory_node_test", args=[node.pk]), follow=True).content.decode()

    assert "and has all that a deploy needs" in page


def test_a_changed_host_key_fails_the_test(admin_page: Client, node: Node) -> None:
    page = admin_page.post(reverse("admin:inventory_node_test", args=[node.pk]), follow=True).content.decode()

    assert "host key" in page
    assert "was reached" not in page


def test_where_local_nodes_are_not_allowed_none_is_tried(admin_page: Client, settings: Any) -> None:
    settings.LOCAL_NODES = False
    url = reverse("admin:inventory_node_test", args=[make_node("here").pk])

    page = admin_page.post(url, follow=True).content.decode()

    assert "RELEASE_LOCAL_NODES" in page
    assert "was reached" not in page


def test_the_buttons_are_on_the_nodes_page(admin_page: Client, node: Node) -> None:
    page = admin_page.get(reverse("admin:inventory_node_change", args=[node.pk])).content.decode()

    assert 'form="fetch-host-key"' in page
    assert 'form="test-connection"' in page
