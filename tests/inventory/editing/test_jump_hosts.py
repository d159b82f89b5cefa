"""Jump hosts come in by file and by page; what can't be is refused in the same words, with its line."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import InventoryFileError
from inventory.editing.file.report import ImportReport
from inventory.models import JumpHost, Node
from inventory.validation import host_key_fingerprint, validate_host_key
from tests.inventory.admin.conftest import edits
from tests.inventory.admin.test_editing import HOST_KEY, errors, node_form
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

JUMP = f"host: 203.0.113.7, ssh_user: jump, ssh_host_key: {HOST_KEY}"
NODE = f"host: 10.0.0.7, ssh_user: deploy, ssh_host_key: {HOST_KEY}"
CHAIN = f"""\
    jump_hosts:
      - {{name: inner, {JUMP}, jump: outer}}
      - {{name: outer, {JUMP}, ssh_port: 2222}}
    nodes:
      - {{name: web-1, {NODE}, jump: inner}}
      - {{name: web-2, {NODE}, jump: inner, jump_socket: /run/release/web-2.sock}}
"""


def bring_in(text: str) -> ImportReport:
    return import_inventory(dedent(text).encode(), filename="f.yaml", actor=SYSTEM)


def refusals(text: str) -> list[str]:
    with pytest.raises(InventoryFileError) as refusal:
        bring_in(text)
    return [problem.detail for problem in refusal.value.problems]


def jump_form(**changed: Any) -> dict[str, Any]:
    form = {"name": "dmz", "host": "203.0.113.7", "ssh_user": "jump", "ssh_port": 22, "ssh_host_key": HOST_KEY}
    return {**form, "jump": "", **changed}


@pytest.fixture
def page(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def chain(db: None) -> None:
    bring_in(CHAIN)


def host(name: str) -> JumpHost:
    return JumpHost.objects.get(name=name)


def change_url(row: JumpHost | Node) -> str:
    return reverse(f"admin:inventory_{row._meta.model_name}_change", args=[row.pk])


def test_a_file_may_name_a_jump_host_before_the_one_it_is_reached_through(chain: None) -> None:
    assert host("inner").jump == host("outer")
    assert host("outer").jump is None
    assert host("outer").ssh_port == 2222
    web_2 = Node.objects.get(name="web-2")
    assert (web_2.jump, web_2.jump_socket) == (host("inner"), "/run/release/web-2.sock")


def test_the_same_file_again_changes_nothing(chain: None) -> None:
    report = bring_in(CHAIN)

    assert (report.created, report.updated, report.unchanged) == (0, 0, 4)


def test_a_key_left_out_keeps_the_way_and_an_empty_one_takes_it_away(chain: None) -> None:
    bring_in(f"nodes: [{{name: web-1, {NODE}}}]")
    assert Node.objects.get(name="web-1").jump == host("inner")

    report = bring_in(f"nodes: [{{name: web-1, {NODE}, jump: ''}}]")

    assert Node.objects.get(name="web-1").jump is None
    assert [(change.old, change.new) for change in report.rows[0].changes] == [("inner", "(empty)")]


BAD_FILES: dict[str, tuple[str, list[str]]] = {
    "names itself": (
        f"jump_hosts:\n  - {{name: dmz, {JUMP}, jump: dmz}}\n",
        ["f.yaml:2: jump_hosts[0] (dmz): jump: It would be reached through itself: dmz → dmz."],
    ),
    "a circle": (
        f"jump_hosts:\n  - {{name: a, {JUMP}, jump: b}}\n  - {{name: b, {JUMP}, jump: a}}\n",
        [
            "f.yaml:2: jump_hosts[0] (a): jump: It would be reached through itself: a → b → a.",
            "f.yaml:3: jump_hosts[1] (b): jump: It would be reached through itself: b → a → b.",
        ],
    ),
    "a circle with what is there": (
        f"jump_hosts:\n  - {{name: outer, {JUMP}, jump: inner}}\n",
        ["f.yaml:2: jump_hosts[0] (outer): jump: It would be reached through itself: outer → inner → outer."],
    ),
    "an unknown one": (
        f"nodes:\n  - {{name: n, {NODE}, jump: dmz, jump_socket: /run/n}}\n",
        ["f.yaml:2: nodes[0] (n): jump: there is no jump host 'dmz', in this file or in the inventory"],
    ),
    "an unknown one of a jump host": (
        f"jump_hosts:\n  - {{name: dmz, {JUMP}, jump: far}}\n",
        ["f.yaml:2: jump_hosts[0] (dmz): jump: there is no jump host 'far', in this file or in the inventory"],
    ),
    "a socket without a jump host": (
        f"nodes:\n  - {{name: n, {NODE},\n     jump_socket: /run/n}}\n",
        ["f.yaml:3: nodes[0] (n): jump_socket: is a socket on a jump host: say on which, as the node's jump host"],
    ),
    "a way to this machine": (
        "nodes:\n  - {name: n, host: localhost, transport: local, jump: outer}\n",
        ["f.yaml:2: nodes[0] (n): jump: is for a node reached over ssh alone"],
    ),
    "a socket that is no path": (
        f"nodes:\n  - {{name: n, {NODE}, jump: outer, jump_socket: '/run/a:b'}}\n",
        [
            "f.yaml:2: nodes[0] (n): jump_socket: '/run/a:b' is not the path of a socket: absolute, up to 107 letters, "
            "digits and . _ + - /"
        ],
    ),
    "no key": (
        "jump_hosts:\n  - {name: dmz, host: 203.0.113.7, ssh_user: jump}\n",
        ["f.yaml:2: jump_hosts[0] (dmz): ssh_host_key: is missing"],
    ),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_changes_nothing_and_names_the_line(chain: None, what: str) -> None:
    text, told = BAD_FILES[what]

    assert refusals(text) == told
    assert JumpHost.objects.count() == Node.objects.count() == 2


def test_an_authoritys_key_is_taken_and_shown_as_such() -> None:
    line = f"@cert-authority {HOST_KEY}"
    bring_in(f"nodes: [{{name: n, host: h, ssh_user: u, ssh_host_key: '{line}  a comment'}}]")

    node = Node.objects.get()
    assert node.ssh_host_key == line
    assert host_key_fingerprint(line) == f"CA {host_key_fingerprint(HOST_KEY)}"
    for bad in (
        "@cert-authority",
        "@cert-authority h ssh-ed25519 AAAA",
        f"@revoked {HOST_KEY}",
        f"{line} {line}\n{line}",
    ):
        with pytest.raises(ValidationError):
            validate_host_key(bad)


def test_the_pages_refuse_a_circle_in_the_same_words(page: Client, chain: None) -> None:
    for through in ("outer", "inner"):
        data = jump_form(name="outer", ssh_port=2222, jump=host(through).pk)

        text = errors(page.post(change_url(host("outer")), data))

        assert (
            f"It would be reached through itself: {'outer → ' if through == 'outer' else 'outer → inner → '}outer."
            in text
        )
    assert host("outer").jump is None


def test_the_pages_refuse_a_socket_without_a_jump_host(page: Client) -> None:
    data = node_form(transport="ssh", ssh_user="u", ssh_host_key=HOST_KEY, jump_socket="/run/n")

    assert "is a socket on a jump host" in errors(page.post(reverse("admin:inventory_node_add"), data))


def test_a_jump_host_is_added_listed_and_audited(page: Client) -> None:
    assert page.post(reverse("admin:inventory_jumphost_add"), jump_form()).status_code == 302

    assert "dmz" in page.get(reverse("admin:inventory_jumphost_changelist")).content.decode()
    assert edits().filter(action="jump_host.create", object_id="dmz").exists()


def test_the_way_to_others_is_not_deleted(page: Client, chain: None) -> None:
    for name, behind in (("inner", "web-1"), ("outer", "inner")):
        url = reverse("admin:inventory_jumphost_delete", args=[host(name).pk])

        assert f"{name} is the way to {behind}" in page.get(url).content.decode()
        page.post(url, {"post": "yes"})

    assert JumpHost.objects.count() == 2


def test_lists_go_out_in_the_columns_of_the_file(page: Client, chain: None) -> None:
    response: Any = page.get(reverse("admin:inventory_jumphost_export"))
    lines = b"".join(response.streaming_content).decode().splitlines()

    assert lines[0] == "name,host,ssh_user,ssh_port,ssh_host_key,jump"
    assert lines[1:] == [
        f"inner,203.0.113.7,jump,22,{HOST_KEY},outer",
        f"outer,203.0.113.7,jump,2222,{HOST_KEY},",
    ]


def test_the_same_address_behind_another_jump_host_is_another_machine(chain: None) -> None:
    service = make_service()
    fields = {"host": "10.0.0.9", "transport": "ssh", "ssh_user": "deploy", "ssh_host_key": HOST_KEY}
    make_instances(service, make_node("far", jump=host("outer"), **fields), 1)
    make_node("near", **fields)
    other = "instances: [{instance_id: i-2, service: user-service, node: %s, port: 1, deploy_root: /srv/instance-1}]"

    bring_in(other % "near")

    Node.objects.filter(name="near").update(jump=host("outer"))
    [told] = refusals((other % "near").replace("i-2", "i-3"))
    assert "is the deploy root of both" in told
