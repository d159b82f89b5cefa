"""A node that dials out: `ssh -R` for real, over what `node_tunnel` prints, and nothing beyond its own socket."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inventory.instances.sync import sync_service
from inventory.models import JumpHost, Node
from inventory.nodes.check import try_connection
from inventory.nodes.transports.base import HostKeyMismatch, NodeAddress, NodeUnreachable
from inventory.nodes.transports.pool import ConnectionPool
from inventory.nodes.tunnel import NODE_FOLDER, account_for
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.ports import free_port
from tests.support.sshd import SshServer, ssh_server

ACCOUNT = "release-test-tunnel"
ROOT_NEEDED = pytest.mark.skipif(os.geteuid() != 0, reason="accounts and folders of theirs are made by root alone")


@dataclass(kw_only=True)
class World:
    """A node with its sshd, a jump host, and what the node's unit runs."""

    node: SshServer
    jump: SshServer
    folder: Path
    key: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.folder / "ssh.sock"

    def make_node(self, **changed: Any) -> Node:
        fields: dict[str, Any] = {key: value for key, value in self.jump.node_fields.items() if key != "transport"}
        jump = JumpHost.objects.create(name="dmz", **fields)
        given = {**self.node.node_fields, "host": "192.0.2.77", "jump": jump, "jump_socket": str(self.socket)}
        return make_node("web-1", **{**given, **changed})

    def printed(self) -> dict[str, str]:
        """By the start of each section's heading: what stands below it."""
        out = StringIO()
        public = Path(f"{self.key}.pub").read_text().strip()
        call_command("node_tunnel", "web-1", account=ACCOUNT, public_key=public, stdout=out)
        sections = re.split(r"^# ", out.getvalue(), flags=re.M)[1:]
        return dict(section.split("\n", 1) for section in sections)

    def section(self, word: str) -> str:
        [found] = [body for heading, body in self.printed().items() if word in heading]
        return found

    def dial(self, *more: str, socket: Path | None = None) -> subprocess.Popen[bytes]:
        """What the unit starts; more: instead of its -R."""
        [line] = re.findall(r"^ExecStart=(.*)$", self.section("release-tunnel.service"), re.M)
        command = shlex.split(line.replace(f"{NODE_FOLDER}/", f"{self.key.parent}/node-"))
        if more:
            at = command.index("-R")
            command[at : at + 2] = more
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.running.append(process)
        return process

    def dialled(self) -> subprocess.Popen[bytes]:
        process = self.dial()
        deadline = time.monotonic() + 10
        while not is_answered(self.socket):
            assert process.poll() is None, self.jump.log[-1500:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    def hang_up(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        self.running.clear()


def is_answered(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[SshServer, SshServer]]:
    with ssh_server() as node, ssh_server() as jump:
        yield node, jump


@pytest.fixture
def world(servers: tuple[SshServer, SshServer], settings: Any, db: None) -> Iterator[World]:
    """The jump host is set up with the very lines that the command prints."""
    node, jump = servers
    settings.SSH_KEY_FILE = str(node.private_key)
    made = World(node=node, jump=jump, folder=jump.folder / "tunnels", key=jump.folder / "node-key")
    made.key.unlink(missing_ok=True)
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made.key), check=True)
    (jump.folder / "authorized_keys").write_text(node.private_key.with_suffix(".pub").read_text())
    row = made.make_node()
    set_up(made)
    yield made
    made.hang_up()
    row.delete()
    shutil.rmtree(made.folder, ignore_errors=True)


def set_up(world: World) -> None:
    account()
    (world.jump.folder / "node-known_hosts").write_text(world.section("known_hosts"))
    (world.jump.folder / "of_tunnel").write_text(world.section("authorized_keys"))
    configuration = world.jump.folder / "sshd_config"
    text = configuration.read_text().split("Match User")[0]
    keys = f"    AuthorizedKeysFile {world.jump.folder}/of_tunnel\n"
    users = f"AllowUsers {ACCOUNT}\n"
    configuration.write_text(users + text + world.section("sshd_config.d") + keys)
    _d, path, mode, owner, group, _age = world.section("tmpfiles.d").split()
    subprocess.run(("install", "-d", "-m", mode, "-o", owner, "-g", pwd_group(group), path), check=True)
    world.jump.stop()
    world.jump.start()


def pwd_group(user: str) -> str:
    """Its own group bears its name where accounts are made as usual; whatever it is called, by number."""
    return str(pwd.getpwnam(user).pw_gid)


def account() -> None:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        options = ("--system", "--shell", "/bin/sh", "--home-dir", "/tmp", "--no-create-home", "--password", "*")
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")
        assert useradd is not None
        subprocess.run((useradd, *options, ACCOUNT), check=True, capture_output=True)


def address() -> NodeAddress:
    return NodeAddress.of(Node.objects.select_related("jump").get(name="web-1"))


def says(program: str = "echo here") -> bytes:
    node = address()

    async def main() -> bytes:
        pool = ConnectionPool()
        try:
            transport = await pool.transport(node)
            return (await transport.run(program, timeout_seconds=10)).stdout
        finally:
            await pool.close()

    return asyncio.run(main())


@ROOT_NEEDED
def test_a_node_is_reached_through_the_socket_that_it_has_dialled_in_to(world: World) -> None:
    world.dialled()

    assert says() == b"here\n"
    assert try_connection(address()).error == ""


@ROOT_NEEDED
def test_another_host_key_behind_the_socket_is_refused(world: World) -> None:
    world.dialled()
    Node.objects.update(ssh_host_key=world.jump.host_key)

    with pytest.raises(HostKeyMismatch):
        says()


@ROOT_NEEDED
def test_one_that_is_away_is_told_with_when_it_was_last_there(world: World) -> None:
    with pytest.raises(NodeUnreachable, match="its tunnel is not there, never seen"):
        says()
    world.dialled()
    service = make_service()
    make_instances(service, Node.objects.get(name="web-1"), 1, root=world.node.node_root())
    sync_service(service.pk)
    world.hang_up()

    with pytest.raises(
        NodeUnreachable, match=r"its tunnel is not there, last seen 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    ):
        says()
    service.instances.all().delete()


@ROOT_NEEDED
def test_a_socket_that_was_left_behind_is_no_hindrance_to_dial_again(world: World) -> None:
    world.dialled()
    world.jump.drop_connections()
    world.hang_up()
    assert world.socket.exists()

    world.dialled()

    assert says() == b"here\n"


@ROOT_NEEDED
@pytest.mark.parametrize(
    "asked",
    [
        ("-R", "{port}:localhost:{node}"),
        ("-R", "{others}/ssh.sock:localhost:{node}"),
        ("-L", "{port}:localhost:{node}", "-o", "ExitOnForwardFailure=yes"),
    ],
    ids=["a port", "another node's socket", "a way on from the jump host"],
)
def test_its_key_is_good_for_nothing_but_its_socket(world: World, asked: tuple[str, ...]) -> None:
    others = world.jump.folder / "others"
    others.mkdir(exist_ok=True, mode=0o755)
    port = free_port()
    words = [each.format(port=port, node=world.node.port, others=others) for each in asked]

    process = world.dial(*words)

    if "-L" in words:
        time.sleep(1)
        assert not banner(port)
    else:
        assert process.wait(timeout=10) != 0
        assert process.stderr is not None
        assert b"forwarding failed" in process.stderr.read()
    assert list(others.iterdir()) == []


def banner(port: int) -> bytes:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        return client.recv(10)


@pytest.mark.django_db
def test_only_a_node_that_dials_out_has_a_tunnel() -> None:
    make_node("near")
    for name, told in (("near", "does not dial out"), ("unknown", "there is no node 'unknown'")):
        with pytest.raises(CommandError, match=told):
            call_command("node_tunnel", name)


@pytest.mark.django_db
def test_nodes_that_share_a_folder_are_warned_of() -> None:
    jump = JumpHost.objects.create(name="dmz", host="h", ssh_user="jump", ssh_host_key="ssh-ed25519 A")
    for name in ("web-1", "web-2"):
        make_node(name, transport="ssh", jump=jump, jump_socket=f"/run/release/{name}.sock")
    make_node("web-3", transport="ssh", jump=jump, jump_socket="/run/release/web-3/ssh.sock")
    warned = StringIO()

    call_command("node_tunnel", "web-1", stdout=StringIO(), stderr=warned)

    assert "sockets of web-2 too" in warned.getvalue()


def test_an_accounts_name_is_one_that_linux_takes() -> None:
    assert account_for("Web_1.example+a") == "tunnel-web_1-example-a"
    assert len(account_for("x" * 100)) == 32
