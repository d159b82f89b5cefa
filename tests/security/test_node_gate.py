"""The forced command on a real sshd: everything that we do goes through it, and nothing else does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from deploys.models import Operation
from deploys.node import calls, gate
from deploys.node.gate import Allowed
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Until
from inventory.instances.sync import sync_service
from inventory.models import Delivery, Instance, Node
from inventory.nodes.check import try_connection
from inventory.nodes.program import NodeCall, base_program
from inventory.nodes.transports import bootstrap
from inventory.nodes.transports.base import NodeAddress
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer
from tests.support.web import Web, running_web

RESTART = """echo "$RELEASE_VERSION it's \\$HOME" >>"$RELEASE_ROOT/restarts"
! test -e "$RELEASE_ROOT/current/broken"
"""
BEFORE = "test -f app.py"
SAYS = """sed -n 1p "it's" 2>/dev/null || cat app.py"""


LIBRARY = {f"lib/{number}": f"{number} " * 500 for number in range(20)}


def install(sshd: SshServer, script: str) -> None:
    """As docs/security.md tells the admin to."""
    path = sshd.folder / "release-gate"
    path.write_text(script)
    path.chmod(0o755)
    key = sshd.private_key.with_suffix(".pub").read_text()
    (sshd.folder / "authorized_keys").write_text(f'command="{path}",restrict {key}')


@pytest.fixture
def fleet(own_sshd: SshServer, package_host: PackageHost, settings: Settings, transactional_db: None) -> list[Instance]:
    settings.SSH_KEY_FILE = str(own_sshd.private_key)
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service(
        restart_command=RESTART,
        before_switch_command=BEFORE,
        command_timeout=20,
        keep_releases=1,
        version_command=SAYS,
        version_timeout=5,
    )
    node = make_node("ssh-1", **own_sshd.node_fields)
    instances = make_instances(service, node, count=2, root=own_sshd.node_root())
    install(own_sshd, printed_gate())
    return instances


def printed_gate() -> str:
    printed = StringIO()
    call_command("node_gate", "ssh-1", stdout=printed)
    return printed.getvalue()


def deploy(fleet: list[Instance], package_host: PackageHost, version: str, **files: str) -> Operation:
    url = package_host.add(f"{version}.tar.gz", package({**LIBRARY, "app.py": version, **files}))
    return start(fleet, version, url)


def test_a_deploy_takes_one_session_through_it(
    fleet: list[Instance],
    own_sshd: SshServer,
    package_host: PackageHost,
    run_work_loop: Callable[[str], None],
) -> None:
    Instance.objects.exclude(pk=fleet[0].pk).delete()
    deploy(fleet[:1], package_host, "v1")
    run_work_loop("deploys")
    assert os.readlink(f"{fleet[0].deploy_root}/current") == "releases/v1"
    assert own_sshd.log.count("Starting session") == 1


def start(fleet: list[Instance], version: str, url: str, until: Until = Until.SWITCHED) -> Operation:
    request = DeployRequest(service="user-service", version=version, instances=ids(fleet), package_url=url, until=until)
    return start_deploy(access=SCHEDULER, request=request)


def test_deploys_rollbacks_and_syncs_go_through(
    fleet: list[Instance], package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    statuses: list[str] = []
    sources: list[str] = []
    for version, files in {"v1": {}, "v2": {}, "v3": {"broken": "yes"}, "v4": {}}.items():
        operation = deploy(fleet, package_host, version, **files)
        run_work_loop("deploys")
        operation.refresh_from_db()
        statuses.append(operation.status)
        sources += sorted(set(operation.targets.values_list("source", flat=True)))
    start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))
    run_work_loop("rollbacks")

    checked = start(fleet, "v4", package_host.url("v4.tar.gz"), Until.CHECKED)
    run_work_loop("deploys")

    assert set(checked.targets.values_list("status", "step")) == {("completed", "check")}
    assert statuses == ["completed", "completed", "failed", "completed"]
    assert sources == ["download", "delta", "delta", "delta"]
    assert [os.readlink(f"{each.deploy_root}/current") for each in fleet] == ["releases/v2", "releases/v4"]
    restarts = Path(fleet[1].deploy_root, "restarts").read_text().splitlines()
    assert restarts == [f"{version} it's $HOME" for version in ("v1", "v2", "v3", "v2", "v4")]
    Instance.objects.update(process_version="")
    sync_service(fleet[0].service_id)
    assert list(Instance.objects.values_list("process_version", flat=True)) == ["v2", "v4"]


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


def test_a_node_that_pulls_fetches_through_it(
    fleet: list[Instance],
    web: Web,
    own_sshd: SshServer,
    package_host: PackageHost,
    settings: Settings,
    run_work_loop: Callable[[str], None],
) -> None:
    settings.PUBLIC_URL = web.url
    Node.objects.update(delivery=Delivery.PULL)
    install(own_sshd, printed_gate())

    statuses = []
    for version, files in {"v1": {}, "v2": {"broken": "yes"}, "v3": {}}.items():
        operation = deploy(fleet, package_host, version, **files)
        run_work_loop("deploys")
        operation.refresh_from_db()
        statuses.append(operation.status)
    start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))
    run_work_loop("rollbacks")

    assert statuses == ["completed", "failed", "completed"]
    assert [os.readlink(f"{each.deploy_root}/current") for each in fleet] == ["releases/v1", "releases/v3"]
    fetched = [line for line in web.log.splitlines() if "request_finished" in line and "/v1/artifacts/" in line]
    assert len(fetched) == 3, "each version once, for both instances"


def test_a_gate_made_before_the_node_pulled_says_so(
    fleet: list[Instance],
    package_host: PackageHost,
    settings: Settings,
    run_work_loop: Callable[[str], None],
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:9"
    Node.objects.update(delivery=Delivery.PULL)

    operation = deploy(fleet, package_host, "v1")
    run_work_loop("deploys")

    operation.refresh_from_db()
    assert operation.status == "failed"
    assert not Path(fleet[0].deploy_root).exists() or not Path(fleet[0].deploy_root, "current").exists()


def test_the_connection_test_goes_through(fleet: list[Instance]) -> None:
    address = NodeAddress.of(Node.objects.get())

    assert try_connection(address, [each.deploy_root for each in fleet]).error == ""
    assert try_connection(address).error == ""
    assert "refused" in try_connection(address, ["/etc"]).error


def ask(sshd: SshServer, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The system's own ssh client, with the stolen key."""
    options = ("-F", "none", "-i", str(sshd.private_key), "-p", str(sshd.port), "-o", "BatchMode=yes")
    host = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", f"{sshd.user}@{sshd.host}")
    return subprocess.run(("ssh", *options, *host, *arguments), capture_output=True, timeout=30, input=stdin)


CALL = NodeCall(mark="\x1ec0ffee", root="ROOT", fence=1)
STAGE = {
    "version": "v1",
    "sha256": "0" * 64,
    "operation": "d-1",
    "artifact_sha256": "0" * 64,
    "keeps_upload": False,
    "fetch_seconds": 9,
    "upload_bytes": 9,
}
SWITCH = {
    "confirm_within_seconds": 0,
    "release": "v1",
    "sha256": "0" * 64,
    "operation": "d-1",
    "timeout_seconds": 5,
    "keep": [],
    "version_timeout_seconds": 5,
    "version_command": "",
    "env": {},
}
PREPARE = {"release": "v1", "timeout_seconds": 5, "env": {}}
LINE = bootstrap.COMMAND_LINE
LINES: dict[str, str] = {
    "a shell": "sh",
    "another program": "exec id",
    "a command line": "exec sh -c id",
    "our line without its program": "exec sh -c id release-node",
    "nothing but true": "exec true",
    "our line and a second one": f"{LINE}\nid",
    "our line and a second command": f"{LINE}; id",
    "our line with an argument": f"{LINE} x",
    "our line after a variable": f"BASH_ENV=/tmp/x {LINE}",
    "a substitution": "exec true $(id)",
    "sftp": "/usr/lib/openssh/sftp-server",
    "scp": "scp -t /tmp",
    "removing": "exec rm -f -- ROOT/.release/kept.1",
}
CALLS: dict[str, list[str]] = {
    "another root": calls.state(NodeCall(mark="\x1ec0ffee", root="/etc", fence=1)),
    "a root above": calls.state(NodeCall(mark="\x1ec0ffee", root="ROOT/..", fence=1)),
    "no root": calls.state(NodeCall(mark="\x1ec0ffee", root="-", fence=1)),
    "a first call of several": ["stay", *calls.state(NodeCall(mark="\x1ec0ffee", root="/etc", fence=1))],
    "arguments that come later, with more": calls.state(NodeCall(mark="wait", root="ROOT", fence=1)),
    "a mark of any words": calls.state(NodeCall(mark="\x1ec0ffee;id", root="ROOT", fence=1)),
    "reading another root": CALL.arguments("read", "/etc"),
    "checking another root": CALL.arguments("check", "/etc"),
    "removing anything": calls.forget(CALL, path="/etc/passwd"),
    "removing by a way round": calls.forget(CALL, path="ROOT/.release/kept.1/../../x"),
    "a URL for a node that does not pull": calls.stage(CALL, release="v1", source=calls.URL, **STAGE),  # type: ignore[arg-type]
    "no task": CALL.arguments("rm"),
    "a release elsewhere": calls.switch(CALL, **{**SWITCH, "release": "../../x", "restart_command": ""}),  # type: ignore[arg-type]
    "looking elsewhere": calls.check_release(CALL, release="../../etc", sha256="0" * 64),
    "a foreign restart": calls.switch(CALL, **SWITCH, restart_command="id"),  # type: ignore[arg-type]
    "a foreign version command": calls.switch(CALL, **{**SWITCH, "restart_command": "", "version_command": "id"}),  # type: ignore[arg-type]
    "a foreign version command at a sync": CALL.arguments("processes", "5", "id", "user-service", "instance-1", "80"),
    "asking another root": CALL.arguments("processes", "5", "", "user-service", "instance-1", "80", "/etc", "x", "80"),
    "asking by arithmetic": CALL.arguments("processes", "a[$(id)]", "", "user-service", "instance-1", "80"),
    "a foreign preparation": calls.before_switch(CALL, **PREPARE, command="id"),  # type: ignore[arg-type]
    "our command and more": calls.before_switch(CALL, **PREPARE, command=f"{BEFORE}\nid"),  # type: ignore[arg-type]
    "a loader in the environment": CALL.arguments("before_switch", "v1", "5", "", "LD_PRELOAD=/tmp/x.so"),
    "a path in the environment": CALL.arguments("before_switch", "v1", "5", "", "PATH=/tmp"),
    "arithmetic that runs": CALL.arguments("before_switch", "v1", "a[$(id)]", ""),
    "a base elsewhere": calls.stage(CALL, release="v1", source="stdin", **STAGE, base=("../../etc", "0" * 64)),  # type: ignore[arg-type]
    "a base's digest that runs": calls.stage(CALL, release="v1", source="stdin", **STAGE, base=("v0", "$(id)")),  # type: ignore[arg-type]
    "a source elsewhere": calls.stage(CALL, release="v1", source="/etc/shadow", **STAGE),  # type: ignore[arg-type]
    "a format in the operation": calls.stage(
        CALL,
        release="v1",
        source="-",
        **{**STAGE, "operation": "%n"},  # type: ignore[arg-type]
    ),
}
STATE = bootstrap.line(calls.state(CALL)).decode()
HEADERS: dict[str, str] = {
    "nothing": "",
    "another beginning": f"release-mode 10 {STATE}",
    "no length": f"release-node x {STATE}",
    "a length that runs": f"release-node $(id) {STATE}",
    "a substitution": "release-node 10 $(id)\n",
    "backticks": "release-node 10 `id`\n",
    "a variable": "release-node 10 $HOME\n",
    "a variable in double quotes": 'release-node 10 "$HOME"\n',
    "a substitution in double quotes": 'release-node 10 "$(id)"\n',
    "an open quote": "release-node 10 'id\n",
    "a backslash": "release-node 10 \\; id\n",
    "a second command": "release-node 10 true; id\n",
    "a redirection": "release-node 10 x >ROOT/x\n",
    "a pattern": "release-node 10 *\n",
    "a tilde": "release-node 10 ~/x\n",
    "an ampersand": "release-node 10 x & id\n",
}


def refused(fleet: list[Instance], answer: subprocess.CompletedProcess[bytes]) -> None:
    assert answer.returncode == 126, answer
    assert b"release-gate: refused: " in answer.stderr
    assert answer.stdout == b""
    assert not Path(fleet[0].deploy_root).exists()


@pytest.mark.parametrize("name", LINES)
def test_no_other_command_line_goes_through(fleet: list[Instance], own_sshd: SshServer, name: str) -> None:
    root = fleet[0].deploy_root
    good = bootstrap.message(calls.node_program(), calls.state(NodeCall(mark="\x1ec0ffee", root=root, fence=1)))

    refused(fleet, ask(own_sshd, LINES[name].replace("ROOT", root), stdin=good))


@pytest.mark.parametrize("name", CALLS)
def test_no_other_call_goes_through(fleet: list[Instance], own_sshd: SshServer, name: str) -> None:
    arguments = [word.replace("ROOT", fleet[0].deploy_root) for word in CALLS[name]]

    refused(fleet, ask(own_sshd, LINE, stdin=bootstrap.message(calls.node_program(), arguments)))


FIRST = {
    "that waits": ["wait"],
    "that takes several": ["stay", *calls.state(NodeCall(mark="\x1ec0ffee", root="ROOT", fence=1))],
}


@pytest.mark.parametrize("first", FIRST)
def test_no_other_call_goes_through_a_program(fleet: list[Instance], own_sshd: SshServer, first: str) -> None:
    """As the second line of one session: neither a call that is none of ours, nor a line that would be expanded."""
    root = fleet[0].deploy_root
    message = bootstrap.message(calls.node_program(), [word.replace("ROOT", root) for word in FIRST[first]])
    seconds = [bootstrap.line([word.replace("ROOT", root) for word in CALLS[name]]) for name in CALLS]
    seconds += [HEADERS[name].split(" ", 2)[-1].encode() for name in HEADERS if name.startswith("a sub")]
    for second in seconds:
        answer = ask(own_sshd, LINE, stdin=message + second)
        assert answer.returncode == 126, (second, answer)
        assert b"release-gate: refused" in answer.stderr
    assert not Path(root, ".release").exists()


@pytest.mark.parametrize("name", HEADERS)
def test_nothing_is_expanded_on_the_way(fleet: list[Instance], own_sshd: SshServer, name: str) -> None:
    program = bootstrap.framed(calls.node_program()).encode()

    refused(fleet, ask(own_sshd, LINE, stdin=HEADERS[name].replace("ROOT", fleet[0].deploy_root).encode() + program))


@pytest.mark.parametrize("program", ["id", base_program().replace("say begun", "id"), calls.node_program()[:-1]])
def test_no_other_program_goes_through(fleet: list[Instance], own_sshd: SshServer, program: str) -> None:
    call = NodeCall(mark="\x1ec0ffee", root=fleet[0].deploy_root, fence=1)

    refused(fleet, ask(own_sshd, LINE, stdin=bootstrap.message(program, calls.state(call))))


def test_a_program_that_is_not_there_whole_does_not_go_through(fleet: list[Instance], own_sshd: SshServer) -> None:
    call = NodeCall(mark="\x1ec0ffee", root=fleet[0].deploy_root, fence=1)
    message = bootstrap.message(calls.node_program(), calls.state(call))

    refused(fleet, ask(own_sshd, LINE, stdin=message[:-1]))
    refused(fleet, ask(own_sshd, LINE, stdin=message[10:]))


def test_the_same_key_opens_no_login_no_sftp_and_no_tunnel(fleet: list[Instance], own_sshd: SshServer) -> None:
    login = ask(own_sshd)
    sftp = ask(own_sshd, "-s", "sftp")
    tunnel = ask(own_sshd, "-W", f"127.0.0.1:{own_sshd.port}")

    assert b"release-gate: refused: a login" in login.stderr
    assert (sftp.returncode, sftp.stdout) == (126, b"")
    assert tunnel.returncode != 0
    assert b"prohibited" in tunnel.stderr


SNIPPETS = [*" \t\n'\"\\$`;&|<>(){}[]*?~#!=%x-/.", "touch escaped", "$(touch escaped)", "'\"'\"'"]
SHELL_LIKE = st.lists(st.sampled_from(SNIPPETS), max_size=20).map("".join)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=SHELL_LIKE)
def test_no_line_is_ever_expanded(tmp_path: Path, line: str) -> None:
    length = len(bootstrap.framed(""))
    header = f"release-node {length} '\x1ec0ffee' state /srv/a 1 {line}\n{bootstrap.framed('')}"

    assert run_gate(tmp_path, header.encode(), program="").returncode in (0, 126)
    assert run_gate(tmp_path, line.encode(), program="").returncode == 126
    assert run_gate(tmp_path, b"", line=line).returncode == 126
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate"]


@pytest.mark.parametrize("first", [["wait"], ["stay", "\x1ec0ffee", "state", "/srv/a", "1"]])
def test_a_program_that_does_not_ask_gets_no_further_line(tmp_path: Path, first: list[str]) -> None:
    """As those of earlier versions, which an upgrade lets through too."""
    program = 'while read -r line; do eval "set -- $line"; "$@"; done'
    message = bootstrap.message(program, first) + b"touch escaped\n"

    assert run_gate(tmp_path, message, program=program).returncode == 126
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate"]


WORDS = st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20), max_size=5)


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
def test_every_word_that_we_quote_arrives_as_it_was(tmp_path: Path, words: list[str]) -> None:
    """In place of the node program stands one that prints its arguments."""
    program = r'shift 4; printf "<%s>" "$@"'
    call = NodeCall(mark="\x1ec0ffee", root="/srv/a", fence=1)
    arguments = call.arguments("before_switch", "v1", "5", "", *environment(words))
    answer = run_gate(tmp_path, bootstrap.message(program, arguments), program=program)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.decode() == "".join(f"<{word}>" for word in ["v1", "5", "", *environment(words)])


def environment(words: list[str]) -> list[str]:
    return [f"RELEASE_X={word}" for word in words]


def run_gate(
    folder: Path, stdin: bytes, *, line: str = LINE, program: str = "exit 9"
) -> subprocess.CompletedProcess[bytes]:
    script = gate.gate([Allowed(root="/srv/a", commands=())], also_programs=[gate.digest(program)])
    (folder / "gate").write_text(script)
    environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": line}
    return subprocess.run(("sh", "gate"), cwd=folder, env=environment, capture_output=True, input=stdin)


def test_a_sync_goes_through(
    fleet: list[Instance], package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    deploy(fleet, package_host, "v1")
    run_work_loop("deploys")
    Instance.objects.update(running_version="", running_release="")

    sync_service(fleet[0].service_id)

    assert set(Instance.objects.values_list("running_version", flat=True)) == {"v1"}
