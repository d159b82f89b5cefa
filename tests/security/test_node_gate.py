"""The forced command on a real sshd: everything that we do goes through it, and nothing else does."""

from __future__ import annotations

import os
import shlex
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
from deploys.node.calls import NodeCall
from deploys.node.gate import Allowed
from deploys.operations.start import DeployRequest, start_deploy
from inventory.instances.sync import sync_service
from inventory.models import Delivery, Instance, Node
from inventory.nodes.check import try_connection
from inventory.nodes.state import READ_PROGRAM
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
    service = make_service(restart_command=RESTART, before_switch_command=BEFORE, command_timeout=20, keep_releases=1)
    node = make_node("ssh-1", **own_sshd.node_fields)
    instances = make_instances(service, node, count=2, root=own_sshd.node_root())
    install(own_sshd, printed_gate())
    return instances


def printed_gate() -> str:
    printed = StringIO()
    call_command("node_gate", "ssh-1", stdout=printed)
    return printed.getvalue()


def deploy(fleet: list[Instance], package_host: PackageHost, version: str, **files: str) -> Operation:
    url = package_host.add(f"{version}.tar.gz", package({"app.py": version, **files}))
    request = DeployRequest(service="user-service", version=version, instances=ids(fleet), package_url=url)
    return start_deploy(access=SCHEDULER, request=request)


def test_deploys_rollbacks_and_syncs_go_through(
    fleet: list[Instance], package_host: PackageHost, run_drive: Callable[[str], None]
) -> None:
    statuses = []
    for version, files in {"v1": {}, "v2": {}, "v3": {"broken": "yes"}, "v4": {}}.items():
        operation = deploy(fleet, package_host, version, **files)
        run_drive("deploys")
        operation.refresh_from_db()
        statuses.append(operation.status)
    start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))
    run_drive("rollbacks")

    assert statuses == ["completed", "completed", "failed", "completed"]
    assert [os.readlink(f"{each.deploy_root}/current") for each in fleet] == ["releases/v2", "releases/v4"]
    restarts = Path(fleet[1].deploy_root, "restarts").read_text().splitlines()
    assert restarts == [f"{version} it's $HOME" for version in ("v1", "v2", "v3", "v2", "v4")]


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
    run_drive: Callable[[str], None],
) -> None:
    settings.PUBLIC_URL = web.url
    Node.objects.update(delivery=Delivery.PULL)
    install(own_sshd, printed_gate())

    statuses = []
    for version, files in {"v1": {}, "v2": {"broken": "yes"}, "v3": {}}.items():
        operation = deploy(fleet, package_host, version, **files)
        run_drive("deploys")
        operation.refresh_from_db()
        statuses.append(operation.status)
    start_instance_rollback(access=SCHEDULER, request=InstanceRollbackRequest(instance_id="instance-1"))
    run_drive("rollbacks")

    assert statuses == ["completed", "failed", "completed"]
    assert [os.readlink(f"{each.deploy_root}/current") for each in fleet] == ["releases/v1", "releases/v3"]
    fetched = [line for line in web.log.splitlines() if "request_finished" in line and "/v1/artifacts/" in line]
    assert len(fetched) == 3, "each version once, for both instances"


def test_a_gate_made_before_the_node_pulled_says_so(
    fleet: list[Instance],
    package_host: PackageHost,
    settings: Settings,
    run_drive: Callable[[str], None],
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:9"
    Node.objects.update(delivery=Delivery.PULL)

    operation = deploy(fleet, package_host, "v1")
    run_drive("deploys")

    operation.refresh_from_db()
    assert operation.status == "failed"
    assert not Path(fleet[0].deploy_root).exists() or not Path(fleet[0].deploy_root, "current").exists()


def test_the_connection_test_goes_through(fleet: list[Instance]) -> None:
    connection = try_connection(NodeAddress.of(Node.objects.get()))

    assert connection.error == ""


def ask(sshd: SshServer, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The system's own ssh client, with the stolen key."""
    options = ("-F", "none", "-i", str(sshd.private_key), "-p", str(sshd.port), "-o", "BatchMode=yes")
    host = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", f"{sshd.user}@{sshd.host}")
    return subprocess.run(
        ("ssh", *options, *host, *arguments), capture_output=True, timeout=30, stdin=subprocess.DEVNULL
    )


def line_of(argv: list[str]) -> str:
    return f"exec {shlex.join(argv)}"


CALL = NodeCall(mark="\x1ec0ffee", root="ROOT", fence=1)
STAGE = {
    "version": "v1",
    "sha256": "0" * 64,
    "operation": "d-1",
    "artifact_sha256": "0" * 64,
    "keeps_upload": False,
    "fetch_seconds": 9,
}
SWITCH = {"release": "v1", "sha256": "0" * 64, "operation": "d-1", "timeout_seconds": 5, "keep": [], "env": {}}
PREPARE = {"release": "v1", "timeout_seconds": 5, "env": {}}
REFUSED: dict[str, str] = {
    "a shell": "sh",
    "another program": "exec id",
    "a command line": "exec sh -c id",
    "a posing program": "exec sh -c id release-node mark truth ROOT 0",
    "a posing reader": "exec sh -c id release-read ROOT",
    "a second line": "exec true\nid",
    "a second command": "exec true; id",
    "a substitution": "exec true $(id)",
    "backticks": "exec true `id`",
    "a variable": "exec true $HOME",
    "double quotes": 'exec true "$(id)"',
    "an open quote": "exec true 'id",
    "a backslash": "exec true \\; id",
    "a redirection": "exec true >ROOT/x",
    "a pattern": "exec rm -f -- *",
    "a tilde": "exec rm -f -- ~/x",
    "sftp": "/usr/lib/openssh/sftp-server",
    "scp": "scp -t /tmp",
    "removing anything": "exec rm -f -- /etc/passwd",
    "removing by a way round": "exec rm -f -- ROOT/.release/kept.1/../../x",
    "arguments to true": "exec true x",
    "another root": line_of(calls.truth(NodeCall(mark="\x1ec0ffee", root="/etc", fence=1))),
    "a root above": line_of(calls.truth(NodeCall(mark="\x1ec0ffee", root="ROOT/..", fence=1))),
    "arguments that come later": line_of(calls.truth(NodeCall(mark="wait", root="ROOT", fence=1))),
    "a mark of any words": line_of(calls.truth(NodeCall(mark="\x1ec0ffee;id", root="ROOT", fence=1))),
    "a URL for a node that does not pull": line_of(
        calls.stage(CALL, release="v1", source=calls.URL, **STAGE)  # type: ignore[arg-type]
    ),
    "no task": line_of(CALL.argv("rm")),
    "a release elsewhere": line_of(calls.switch(CALL, **{**SWITCH, "release": "../../x", "restart_command": ""})),  # type: ignore[arg-type]
    "a foreign restart": line_of(calls.switch(CALL, **SWITCH, restart_command="id")),  # type: ignore[arg-type]
    "a foreign preparation": line_of(calls.before_switch(CALL, **PREPARE, command="id")),  # type: ignore[arg-type]
    "a loader in the environment": line_of(
        calls.before_switch(CALL, **{**PREPARE, "env": {"LD_PRELOAD": "/tmp/x.so"}}, command="")  # type: ignore[arg-type]
    ),
    "a path in the environment": line_of(
        calls.before_switch(CALL, **{**PREPARE, "env": {"PATH": "/tmp"}}, command="")  # type: ignore[arg-type]
    ),
    "arithmetic that runs": line_of(CALL.argv("before_switch", "v1", "a[$(id)]", "")),
    "a source elsewhere": line_of(calls.stage(CALL, release="v1", source="/etc/shadow", **STAGE)),  # type: ignore[arg-type]
    "a format in the operation": line_of(
        calls.stage(CALL, release="v1", source="-", **{**STAGE, "operation": "%n"})  # type: ignore[arg-type]
    ),
    "another reader's root": "exec sh -c READER release-read /etc",
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_else_goes_through(fleet: list[Instance], own_sshd: SshServer, name: str) -> None:
    root = fleet[0].deploy_root
    line = REFUSED[name].replace("ROOT", root).replace("READER", shlex.quote(READ_PROGRAM))

    answer = ask(own_sshd, line)

    assert answer.returncode == 126, answer
    assert b"release-gate: refused: " in answer.stderr
    assert answer.stdout == b""
    assert not Path(root).exists()


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
    assert run_gate(tmp_path, f"exec true {line}").returncode in (0, 126)
    assert run_gate(tmp_path, line).returncode == 126
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate"]


WORDS = st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20), max_size=5)


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
def test_every_word_that_we_quote_arrives_as_it_was(tmp_path: Path, words: list[str]) -> None:
    """In place of the node program stands one that prints its arguments."""
    program = r'shift 4; printf "<%s>" "$@"'
    argv = [
        "sh",
        "-c",
        program,
        "release-node",
        "\x1ec0ffee",
        "before_switch",
        "/srv/a",
        "1",
        "v1",
        "5",
        "",
        *environment(words),
    ]
    answer = run_gate(tmp_path, line_of(argv), program=program)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.decode() == "".join(f"<{word}>" for word in ["v1", "5", "", *environment(words)])


def environment(words: list[str]) -> list[str]:
    return [f"RELEASE_X={word}" for word in words]


def run_gate(folder: Path, line: str, *, program: str | None = None) -> subprocess.CompletedProcess[bytes]:
    script = gate.gate([Allowed(root="/srv/a", commands=())])
    if program is not None:
        script = script.replace(gate.program_digest(), gate._digest(program))
    (folder / "gate").write_text(script)
    environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": line}
    return subprocess.run(("sh", "gate"), cwd=folder, env=environment, capture_output=True, stdin=subprocess.DEVNULL)


def test_a_sync_goes_through(
    fleet: list[Instance], package_host: PackageHost, run_drive: Callable[[str], None]
) -> None:
    deploy(fleet, package_host, "v1")
    run_drive("deploys")
    Instance.objects.update(running_version="", running_release="")

    sync_service(fleet[0].service_id)

    assert set(Instance.objects.values_list("running_version", flat=True)) == {"v1"}
