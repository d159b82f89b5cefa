"""An inventory file is brought in whole or not at all, and every fault in it is named with its line."""

from __future__ import annotations

import time
from io import StringIO
from pathlib import Path
from textwrap import dedent

import asyncssh
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploys.models import Operation, Target
from deploys.states import Kind
from inventory.actors import SYSTEM, ActorKind
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import MAX_PROBLEMS, SECTIONS, InventoryFileError
from inventory.editing.file.read import MAX_BYTES
from inventory.editing.file.report import ImportReport, Outcome
from inventory.models import AuditEntry, Instance, Node, RunStatus, Service, StatusChange

pytestmark = pytest.mark.django_db

HOST_KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()
FILE = f"""\
services:
  - name: user-service
    restart_command: systemctl restart user-service@$RELEASE_PORT
    command_timeout: 30
nodes:
  - name: web-1
    host: 192.168.1.10
    transport: ssh
    ssh_user: deploy
    ssh_port: 22
    ssh_host_key: {HOST_KEY} a comment
  - name: here
    host: 127.0.0.1
    transport: local
instances:
  - instance_id: instance-1
    service: user-service
    node: web-1
    port: 8080
    deploy_root: /srv/user-service/instance-1
  - instance_id: instance-2
    service: user-service
    node: here
    port: 8081
    deploy_root: /srv/user-service/instance-2
"""


def bring_in(text: str, *, dry_run: bool = False) -> ImportReport:
    return import_inventory(dedent(text).encode(), filename="inventory.yaml", actor=SYSTEM, dry_run=dry_run)


def refusals(text: str) -> list[str]:
    with pytest.raises(InventoryFileError) as refusal:
        bring_in(text)
    return [problem.detail for problem in refusal.value.problems]


def outcomes(report: ImportReport) -> dict[str, str]:
    return {row.name: row.outcome.value for row in report.rows}


def busy(instance_id: str) -> Target:
    instance = Instance.objects.get(instance_id=instance_id)
    operation = Operation.objects.create(
        kind=Kind.DEPLOY, public_id="deploy-1", service=instance.service, version="v1", total=1, fingerprint="x",
        requested_by="ann", requested_by_kind=ActorKind.PERSON,
    )  # fmt: skip
    return Target.objects.create(operation=operation, instance=instance, kind=Kind.DEPLOY)


def test_it_creates_what_the_file_says() -> None:
    report = bring_in(FILE)

    assert set(outcomes(report).values()) == {"created"}
    service = Service.objects.get(name="user-service")
    assert (service.command_timeout, service.keep_releases, service.mutable_versions) == (30, 5, False)
    node = Node.objects.get(name="web-1")
    assert node.ssh_host_key == " ".join(HOST_KEY.split()[:2])
    instance = Instance.objects.get(instance_id="instance-1")
    assert (instance.service, instance.node, instance.port) == (service, node, 8080)
    assert instance.deploy_root == "/srv/user-service/instance-1"


def test_a_second_time_changes_nothing() -> None:
    bring_in(FILE)
    entries = AuditEntry.objects.count()

    report = bring_in(FILE)

    assert set(outcomes(report).values()) == {"unchanged"}
    assert AuditEntry.objects.count() == entries


def test_it_updates_and_names_the_changed_fields() -> None:
    bring_in(FILE)

    report = bring_in(FILE.replace("8081", "9090").replace("command_timeout: 30", "command_timeout: 31"))

    assert outcomes(report) == {
        "user-service": "updated", "web-1": "unchanged", "here": "unchanged",
        "instance-1": "unchanged", "instance-2": "updated",
    }  # fmt: skip
    assert "instance-2" in (text := "\n".join(report.lines()))
    assert "port: 8081 → 9090" in text
    assert Instance.objects.get(instance_id="instance-2").port == 9090


def test_a_key_left_out_keeps_its_value() -> None:
    bring_in(FILE)

    bring_in("services: [{name: user-service, keep_releases: 7}]")

    service = Service.objects.get()
    assert (service.keep_releases, service.command_timeout) == (7, 30)


def test_it_never_deletes() -> None:
    bring_in(FILE)

    bring_in("services: [{name: other}]\nnodes:\ninstances: []\n")

    assert Instance.objects.count() == 2
    assert Service.objects.count() == 2


def test_an_instance_may_refer_to_what_is_in_the_inventory_only() -> None:
    bring_in(FILE)

    report = bring_in(
        "instances: [{instance_id: i-3, service: user-service, node: here, port: 1, deploy_root: /srv/i-3}]"
    )

    assert outcomes(report) == {"i-3": "created"}


def test_a_dry_run_reports_and_changes_nothing() -> None:
    report = bring_in(FILE, dry_run=True)

    assert report.count(Outcome.CREATED) == 5
    assert not Service.objects.exists()
    assert not AuditEntry.objects.exists()


def test_every_change_is_in_the_audit() -> None:
    bring_in(FILE)
    bring_in(FILE.replace("8081", "9090"))

    assert set(AuditEntry.objects.values_list("action", flat=True)) == {
        "service.create", "node.create", "instance.create", "instance.change",
    }  # fmt: skip
    change = AuditEntry.objects.get(action="instance.change")
    assert (change.object_id, change.service) == ("instance-2", "user-service")
    assert change.detail["changes"] == {"port": ["8081", "9090"]}


def test_it_names_every_fault_at_once_with_line_and_entry() -> None:
    text = FILE.replace("port: 8080", "port: '8080'").replace("host: 127.0.0.1", "hots: 127.0.0.1")
    text = text.replace("command_timeout: 30", "command_timeout: 0")

    assert refusals(text) == [
        "inventory.yaml:4: services[0] (user-service): command_timeout: "
        "Ensure this value is greater than or equal to 1.",
        "inventory.yaml:12: nodes[1] (here): host: is missing",
        f"inventory.yaml:13: nodes[1] (here): hots: unknown key; known: {', '.join(SECTIONS['nodes'])}",
        "inventory.yaml:19: instances[0] (instance-1): port: must be an integer",
    ]
    assert not Service.objects.exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ":1: the file is empty"),
        ("services:\n- [", ":3: not valid YAML"),
        ("just text", ":1: must be a mapping"),
        ("servers: []", ":1: unknown key 'servers'"),
        ("services: {}", ":1: services must be a list"),
        ("services: [x]", ":1: services[0] must be a mapping"),
        ("services: [{name: a}]\nservices: []", ":2: the key 'services' is there already, on line 1"),
        ("services:\n- name: a\n  name: b", ":3: services[0]: the key 'name' is there already, on line 2"),
        ("services:\n- name: a\n- name: a", ":3: services[1] (a): a is there already, on line 2"),
        ("services: [{name: 12}]", 'name: must be text; write it in quotes: "12"'),
        ("services: [{name: true}]", "name: must be text"),
        ("services: [{name: ~}]", "name: has no value"),
        ("services: [{name: current}]", "'current' is not a valid name"),
        ("services: [{name: ../x}]", "'../x' is not a valid name"),
        ('services: [{name: "a\\n"}]', "is not a valid name"),
        ("services: [{}]", "name: is missing"),
        ("services: [{name: a, keep_releases: 010}]", "must be an integer"),
        ("services: [{name: a, keep_releases: 22:22}]", "must be an integer"),
        ("services: [{name: a, keep_releases: -1}]", "must be an integer"),
        ("services: [{name: a, keep_releases: 1.0}]", "must be an integer"),
        ("services: [{name: a, mutable_versions: 1}]", "must be true or false"),
        ('services: [{name: a, restart_command: "a\\0b"}]', "must not contain NUL"),
        ("services: [{name: !!python/name:os.system a}]", "name: must be text"),
        ("services: [{<<: {name: a}}]", "<<: unknown key"),
        ("--- {}\n--- {}", "not valid YAML"),
        ("nodes: [{name: n, host: 'a b', transport: local}]", "'a b' is not a host"),
        ("nodes: [{name: n, host: '-oProxyCommand=x', transport: local}]", "is not a host"),
        ("nodes: [{name: n, host: h, transport: telnet}]", "'telnet' is not a valid choice"),
        ("nodes: [{name: n, host: h, transport: ssh, ssh_user: u}]", "ssh_host_key: is required"),
        (f"nodes: [{{name: n, host: h, ssh_host_key: {HOST_KEY}}}]", "ssh_user: is required"),
        ("nodes: [{name: n, host: h, ssh_user: u, ssh_host_key: ssh-ed25519 AAAA}]", "is not a public key"),
        (f"nodes: [{{name: n, host: h, ssh_user: u, ssh_host_key: h {HOST_KEY}}}]", "is not a public key"),
        (f"nodes: [{{name: n, host: h, ssh_port: 70000, ssh_user: u, ssh_host_key: {HOST_KEY}}}]", "less than or equal"),
        ("instances: [{instance_id: i, service: s, node: n, port: 1, deploy_root: /a}]", "there is no service 's'"),
        ("instances: [{instance_id: i, service: s, node: n, port: 1, deploy_root: /a}]", "there is no node 'n'"),
    ],
)  # fmt: skip
def test_it_refuses(text: str, fault: str) -> None:
    found = refusals(text)

    assert any(fault in each for each in found), found
    assert all(each.startswith("inventory.yaml:") for each in found)


@pytest.mark.parametrize(
    "root", ["srv/a", "/srv/../a", "/srv/a/", "/srv//a", "//srv/a", "/srv/./a", "/", "/srv/\\ta", "", "/" + "x" * 256]
)
def test_it_refuses_a_deploy_root(root: str) -> None:
    found = refusals(FILE.replace("/srv/user-service/instance-1", f'"{root}"'))

    assert len(found) == 1
    assert "inventory.yaml:20: instances[0] (instance-1): deploy_root: " in found[0]


@pytest.mark.parametrize("inner", ["/srv/a", "/srv/a/b", "/srv/a/b/c"])
def test_no_root_is_or_lies_inside_another_of_the_node(inner: str) -> None:
    instances = "\n".join(
        f"- {{instance_id: {name}, service: s, node: {node}, port: 1, deploy_root: {root}}}"
        for name, node, root in (("i-1", "n", "/srv/a"), ("i-2", "n", "/srv/a-b"), ("i-3", "also-here", inner))
    )
    nodes = "nodes: [{name: n, host: h, transport: local}, {name: also-here, host: h2, transport: local}]"

    [fault] = refusals(f"services: [{{name: s}}]\n{nodes}\ninstances:\n{instances}\n")

    assert fault.startswith("inventory.yaml:6: instances[2] (i-3): deploy_root: ")
    assert "i-1" in fault


def test_the_same_root_on_another_node_is_fine() -> None:
    bring_in(FILE.replace("/srv/user-service/instance-2", "/srv/user-service/instance-1"))

    assert Instance.objects.values("deploy_root").distinct().count() == 1


def test_roots_already_in_the_inventory_count() -> None:
    bring_in(FILE)

    [fault] = refusals(
        "instances: [{instance_id: i-3, service: user-service, node: here, port: 1, deploy_root: /srv/user-service}]"
    )

    assert "instance-2's deploy root /srv/user-service/instance-2 lies inside /srv/user-service, that of i-3" in fault


def test_a_node_may_not_move_onto_another_ones_roots() -> None:
    bring_in(FILE.replace("/srv/user-service/instance-2", "/srv/user-service/instance-1"))

    [fault] = refusals("nodes:\n- {name: web-1, host: 1.2.3.4, transport: local}")

    assert fault.startswith("inventory.yaml:2: nodes[0] (web-1): ")


@pytest.mark.parametrize(
    "change",
    [
        ("service: user-service\n    node: here", "service: other\n    node: here"),
        ("node: here", "node: web-1"),
        ("/srv/user-service/instance-2", "/srv/elsewhere"),
    ],
)
def test_an_instance_in_an_unfinished_operation_is_not_moved(change: tuple[str, str]) -> None:
    bring_in(FILE)
    Service.objects.create(name="other")
    busy("instance-2")

    [fault] = refusals(FILE.replace(*change))

    assert "instances[1] (instance-2): It can't be moved or renamed while deploy-1 is in progress on it" in fault


def test_a_node_of_an_instance_in_an_unfinished_operation_is_not_moved() -> None:
    bring_in(FILE)
    busy("instance-1")

    [fault] = refusals(FILE.replace("192.168.1.10", "192.168.1.11"))

    assert "nodes[0] (web-1): It can't be moved while deploy-1 is in progress on an instance of it" in fault


def test_other_changes_are_welcome_while_an_operation_runs() -> None:
    bring_in(FILE)
    busy("instance-2")

    assert outcomes(bring_in(FILE.replace("8081", "9090")))["instance-2"] == "updated"


def test_an_instance_moved_to_another_service_forgets_what_it_ran() -> None:
    bring_in(FILE)
    Service.objects.create(name="other")
    Instance.objects.filter(instance_id="instance-2").update(
        running_version="v1", running_release="v1", expected_version="v1", release_history=["v1"], run_status="running"
    )

    bring_in(FILE.replace("service: user-service\n    node: here", "service: other\n    node: here"))

    instance = Instance.objects.get(instance_id="instance-2")
    assert (instance.running_version, instance.release_history, instance.run_status) == ("", [], RunStatus.UNKNOWN)
    changes = StatusChange.objects.filter(instance=instance).values_list("field", "old", "new", "note")
    assert set(changes) == {
        ("version", "v1", "", "moved in the inventory"),
        ("run_status", "running", "unknown", "moved in the inventory"),
    }


def test_aliases_are_read_once() -> None:
    bring_in("services: [&a {name: x, keep_releases: &n 7}, {name: y, keep_releases: *n}]")

    assert list(Service.objects.values_list("keep_releases", flat=True)) == [7, 7]


def test_an_alias_bomb_is_refused_at_once() -> None:
    levels = "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(20))

    found = refusals(f"a: &a [x]\n{levels}\nservices: *u")

    assert len(found) < 40


@pytest.mark.parametrize(
    "text",
    [
        "services: [&a {" + ",".join(f"k{n}: v" for n in range(50)) + "}" + ",*a" * 1_000_000 + "]",
        "services:\n" + "".join(f"- &a{n} {{name: x}}\n" for n in range(200_000)),
        "services:\n" + "- a\n" * 3_000_000,
        "services: [" + "a," * 7_000_000 + "a]",
    ],
    ids=["aliases", "anchors", "rows", "flow"],
)
def test_a_file_of_too_many_parts_is_refused_in_seconds(text: str) -> None:
    began = time.monotonic()

    [fault] = refusals(text)

    assert "too many" in fault
    assert time.monotonic() - began < 20


def test_deep_nesting_is_refused() -> None:
    assert "nested too deeply" in refusals("services: " + "[" * 100_000)[0]


def test_a_file_too_large_is_refused() -> None:
    assert "larger than" in refusals("#" * (MAX_BYTES + 1))[0]


def test_thousands_of_faults_are_cut_short() -> None:
    found = refusals("services:\n" + "- {name: 1}\n" * 5000)

    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == f"inventory.yaml: and {5000 - MAX_PROBLEMS} problems more"


def test_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(InventoryFileError, match=r"inventory.yaml:2: the file is not UTF-8"):
        import_inventory(b"services:\n- name: \xff", filename="inventory.yaml", actor=SYSTEM)


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text(FILE)
    out = StringIO()

    call_command("import_inventory", tmp_path / "inventory.yaml", dry_run=True, stdout=out)

    lines = out.getvalue().splitlines()
    assert lines[0].split() == ["service", "user-service", "created"]
    assert lines[-1] == "dry run, nothing changed: 5 created, 0 updated, 0 unchanged"


def test_the_command_refuses_with_every_fault(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("services: [{name: 1}, {name: 2}]")

    with pytest.raises(CommandError) as refusal:
        call_command("import_inventory", tmp_path / "bad.yaml")

    assert str(refusal.value).count("bad.yaml:1: services[") == 2
    assert str(refusal.value).endswith("nothing was changed: 2 problems")


def test_the_command_says_when_the_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none.yaml: can't be read: No such file"):
        call_command("import_inventory", tmp_path / "none.yaml")


def test_ten_thousand_instances_take_seconds() -> None:
    nodes = "".join(f"- {{name: n-{n}, host: h, transport: local}}\n" for n in range(100))
    instances = "".join(
        f"- {{instance_id: i-{n}, service: s, node: n-{n % 100}, port: 80, deploy_root: /srv/i-{n}}}\n"
        for n in range(10_000)
    )
    text = f"services: [{{name: s}}]\nnodes:\n{nodes}instances:\n{instances}"

    assert bring_in(text).count(Outcome.CREATED) == 10_101
    assert bring_in(text).count(Outcome.UNCHANGED) == 10_101


def test_its_planning_may_take_longer_than_a_transaction_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory.editing.file.apply.check", lambda *plan: time.sleep(0.6))
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = '300ms'")

    assert bring_in("services: [{name: s}]\n").count(Outcome.CREATED) == 1


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(
    ["user-service", "web-1", "ssh", "local", "/srv/a", "/srv/a/b", "../x", "a\n", HOST_KEY, "127.0.0.1"]
)  # fmt: skip
keys = st.sampled_from(
    ["name", "host", "transport", "ssh_user", "ssh_port", "ssh_host_key", "instance_id", "service", "node", "port",
     "deploy_root", "restart_command", "command_timeout", "keep_releases", "mutable_versions", "bogus"]
)  # fmt: skip
entries = st.lists(st.dictionaries(keys, scalars, max_size=8) | scalars, max_size=4) | scalars
documents = st.dictionaries(st.sampled_from(["services", "nodes", "instances", "more"]), entries, max_size=4)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents)
def test_any_document_is_taken_or_refused_with_lines(document: dict[str, object]) -> None:
    import yaml

    taken_or_refused(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(alphabet="-[]{}:&*!|>%@`'\"\n\t \\0x?,#ab<~", max_size=120).map(str.encode))
def test_any_bytes_are_taken_or_refused_with_lines(data: bytes) -> None:
    taken_or_refused(data)


def taken_or_refused(data: bytes) -> None:
    before = (Service.objects.count(), Node.objects.count(), Instance.objects.count())
    try:
        import_inventory(data, filename="f.yaml", actor=SYSTEM)
    except InventoryFileError as refusal:
        assert all(problem.detail.startswith("f.yaml:") for problem in refusal.problems)
        assert (Service.objects.count(), Node.objects.count(), Instance.objects.count()) == before
