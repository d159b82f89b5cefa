"""Nodes behind jump hosts: one connection to a hop, both keys pinned, and trouble at the hop told as such, once."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.check import try_connection, try_jump_host
from inventory.nodes.host_keys import fetch_host_key
from inventory.nodes.transports import ssh_hops, ssh_login
from inventory.nodes.transports.base import (
    ConnectionLost,
    HostKeyMismatch,
    JumpHostKeyMismatch,
    JumpUnreachable,
    NodeAddress,
    NodeUnreachable,
    TransportError,
)
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.pool import ConnectionPool
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.ports import free_port
from tests.support.sshd import SshServer, ssh_server
from tests.support.tcp_proxy import TcpProxy, tcp_proxy


@pytest.fixture(scope="module")
def jump_server() -> Iterator[SshServer]:
    """sshd of a jump host; the test account logs in with the key of the node `sshd` too."""
    with ssh_server() as server:
        yield server


@pytest.fixture(autouse=True)
def key(settings: Any, sshd: SshServer) -> None:
    settings.SSH_KEY_FILE = str(sshd.private_key)


@pytest.fixture
def hop(jump_server: SshServer, sshd: SshServer) -> Iterator[TcpProxy]:
    """The wire to the jump host: counted, and cut at will."""
    keys = {server.private_key.with_suffix(".pub").read_text() for server in (jump_server, sshd)}
    (jump_server.folder / "authorized_keys").write_text("".join(sorted(keys)))
    with tcp_proxy(jump_server.port) as proxy:
        yield proxy


def jump_to(server: SshServer, port: int | None = None, **changed: Any) -> JumpAddress:
    fields: dict[str, Any] = {**server.node_fields, "name": "dmz", "ssh_port": port or server.port, **changed}
    fields.pop("transport")
    return JumpAddress(**fields)


@pytest.fixture
def jump(jump_server: SshServer, hop: TcpProxy) -> JumpAddress:
    return jump_to(jump_server, hop.port)


@pytest.fixture
def node(sshd: SshServer, jump: JumpAddress) -> NodeAddress:
    return ssh_address(sshd, jump=jump)


def within_pool(main: Any) -> Any:
    async def run() -> Any:
        pool = ConnectionPool()
        try:
            return await main(pool)
        finally:
            await pool.close()

    return asyncio.run(run())


async def says(pool: ConnectionPool, node: NodeAddress, program: str = "echo here", **more: Any) -> bytes:
    transport = await pool.transport(node)
    return (await transport.run(program, **{"timeout_seconds": 20, **more})).stdout


async def failure(pool: ConnectionPool, node: NodeAddress) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await pool.transport(node)
    return caught.value


def test_twenty_nodes_share_one_connection_to_their_jump_host(
    sshd: SshServer, jump: JumpAddress, hop: TcpProxy
) -> None:
    nodes = [ssh_address(sshd, name=f"node-{number}", jump=jump) for number in range(20)]

    async def main(pool: ConnectionPool) -> list[bytes]:
        return await asyncio.gather(*(says(pool, node) for node in nodes))

    assert within_pool(main) == [b"here\n"] * 20
    assert hop.connections == 1


def test_a_chain_leads_through_both(sshd: SshServer, jump: JumpAddress, jump_server: SshServer, hop: TcpProxy) -> None:
    before = jump_server.log.count("Accepted publickey")
    inner = jump_to(jump_server, name="inner", jump=jump)

    assert within_pool(lambda pool: says(pool, ssh_address(sshd, jump=inner))) == b"here\n"
    assert hop.connections == 1
    assert jump_server.log.count("Accepted publickey") == before + 2


def test_the_jump_host_sees_ciphertext_alone(node: NodeAddress, hop: TcpProxy, jump_server: SshServer) -> None:
    """What leaves the jump host for the node is what a recorder between the two sees."""
    secret = b"correct horse battery staple" * 2000
    seen = bytearray()
    with recording(node.ssh_port, seen) as port:
        behind = NodeAddress(**{**vars(node), "ssh_port": port})
        assert within_pool(lambda pool: says(pool, behind, "cat", stdin=secret)) == secret
    assert len(seen) > len(secret)
    assert b"correct horse" not in seen


class recording:
    """A port that passes on to `target`, and keeps what goes there."""

    def __init__(self, target: int, seen: bytearray) -> None:
        self._proxy = TcpProxy(target)
        original = self._proxy._pump

        def pump(source: socket.socket, sink: socket.socket, is_upstream: bool) -> None:
            if not is_upstream:
                original(source, sink, is_upstream)
                return
            while data := source.recv(65536):
                seen.extend(data)
                sink.sendall(data)

        self._proxy._pump = pump  # type: ignore[method-assign]

    def __enter__(self) -> int:
        return self._proxy.port

    def __exit__(self, *_: object) -> None:
        self._proxy.close()


def test_a_wrong_key_of_the_jump_host_ends_it_there(node: NodeAddress, sshd: SshServer, jump_server: SshServer) -> None:
    """Nothing is sent: neither a login to the jump host nor a byte to the node."""
    before = jump_server.log
    with tcp_proxy(sshd.port) as to_node:
        wrong = jump_to(jump_server, ssh_host_key=sshd.host_key)
        error = within_pool(lambda pool: failure(pool, ssh_address(sshd, ssh_port=to_node.port, jump=wrong)))
        assert (to_node.connections, to_node.sent_bytes) == (0, 0)
    assert (type(error), error.code) == (JumpHostKeyMismatch, "jump_host_key_mismatch")
    assert "jump host 'dmz'" in error.message
    assert error.message.count("SHA256:") == 2
    assert not re.search("publickey", jump_server.log.removeprefix(before))


def test_a_wrong_key_of_the_node_is_refused_through_the_hop(
    sshd: SshServer, jump: JumpAddress, jump_server: SshServer
) -> None:
    before = sshd.log
    with tcp_proxy(sshd.port) as to_node:
        node = ssh_address(sshd, ssh_port=to_node.port, jump=jump, ssh_host_key=jump_server.host_key)
        error = within_pool(lambda pool: failure(pool, node))
        # The key exchange, and not a byte of a login or a program.
        assert 0 < to_node.sent_bytes < 3000
    assert (type(error), error.code) == (HostKeyMismatch, "node_host_key_mismatch")
    assert not re.search("publickey", sshd.log.removeprefix(before))


def test_a_dead_jump_host_fails_once_for_all_and_is_named(sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts and never answers: one deadline for thirty nodes, those that come right after it included."""
    monkeypatch.setattr(ssh_login, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(ssh_login, "LOGIN_SECONDS", 1)

    async def main(pool: ConnectionPool, jump: JumpAddress) -> list[TransportError]:
        nodes = [ssh_address(sshd, name=f"node-{number}", jump=jump) for number in range(30)]
        began = time.monotonic()
        first = asyncio.gather(*(failure(pool, node) for node in nodes))
        await asyncio.sleep(0.1)
        await says(pool, ssh_address(sshd))
        assert time.monotonic() - began < 0.9, "a node elsewhere waited for it"
        errors = await first
        errors += await asyncio.gather(*(failure(pool, node) for node in nodes))
        assert time.monotonic() - began < 1.8
        return errors

    with socket.create_server(("127.0.0.1", 0)) as mute:
        jump = jump_to(sshd, mute.getsockname()[1])
        errors = within_pool(lambda pool: main(pool, jump))
        mute.setblocking(False)
        assert len(accepted(mute)) == 1
    assert {(type(error), error.code) for error in errors} == {(JumpUnreachable, "jump_unreachable")}
    assert "jump host 'dmz'" in errors[0].message


def accepted(listener: socket.socket) -> list[socket.socket]:
    found = []
    while True:
        try:
            found.append(listener.accept()[0])
        except BlockingIOError:
            return found


def test_a_jump_host_that_is_back_is_found_again_soon(sshd: SshServer) -> None:
    port = free_port()

    async def main(pool: ConnectionPool) -> bytes:
        node = ssh_address(sshd, jump=jump_to(sshd, port))
        assert isinstance(await failure(pool, node), JumpUnreachable)
        forward = await asyncio.start_server(lambda reader, writer: pipe(reader, writer, sshd.port), "127.0.0.1", port)
        await asyncio.sleep(ssh_hops.SHORTEST_MEMORY_SECONDS + 0.1)
        async with forward:
            return await says(pool, node)

    assert within_pool(main) == b"here\n"


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)


def test_a_node_that_is_away_behind_a_hop_is_the_nodes_own_trouble(sshd: SshServer, jump: JumpAddress) -> None:
    error = within_pool(lambda pool: failure(pool, ssh_address(sshd, ssh_port=free_port(), jump=jump)))

    assert (type(error), error.code) == (NodeUnreachable, "node_unreachable")
    assert "from jump host 'dmz'" in error.message


def test_a_node_that_is_mute_behind_a_hop_leaves_the_others_their_connections(
    sshd: SshServer, node: NodeAddress, hop: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_login, "CONNECT_SECONDS", 0.5)

    async def main(pool: ConnectionPool, port: int) -> TransportError:
        running = asyncio.create_task(says(pool, node, "sleep 1; echo here"))
        error = await failure(pool, ssh_address(sshd, name="mute", ssh_port=port, jump=node.jump))
        assert await running == b"here\n"
        return error

    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = within_pool(lambda pool: main(pool, mute.getsockname()[1]))
    assert error.code == "node_unreachable"
    assert "does not answer" in error.message
    assert hop.connections == 1


def test_a_jump_host_that_falls_silent_is_told_from_a_silent_node(
    sshd: SshServer, node: NodeAddress, hop: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((ssh_login, "CONNECT_SECONDS"), (ssh_hops, "ANSWER_SECONDS")):
        monkeypatch.setattr(module, name, 0.5)

    async def main(pool: ConnectionPool) -> TransportError:
        await says(pool, node)
        hop.stall()
        error = await failure(pool, ssh_address(sshd, name="other", jump=node.jump))
        hop.flow()
        assert await says(pool, node) == b"here\n"
        return error

    error = within_pool(main)
    assert error.code == "jump_unreachable"
    assert "jump host 'dmz' has fallen silent" in error.message
    assert hop.connections == 2


def test_a_jump_host_that_lets_nobody_through_is_named(sshd: SshServer, hop: TcpProxy) -> None:
    with ssh_server(options=["AllowTcpForwarding no"]) as closed:
        (closed.folder / "authorized_keys").write_text(sshd.private_key.with_suffix(".pub").read_text())
        error = within_pool(lambda pool: failure(pool, ssh_address(sshd, jump=jump_to(closed))))

    assert error.code == "jump_unreachable"
    assert "AllowTcpForwarding" in error.message


def test_a_cut_at_the_hop_in_mid_upload_is_a_lost_connection_and_the_way_is_found_again(
    node: NodeAddress, hop: TcpProxy, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(8 * 1024 * 1024))

    async def main(pool: ConnectionPool) -> bytes:
        transport = await pool.transport(node)
        hop.cut_after(2 * 1024 * 1024, once=True)
        with pytest.raises(ConnectionLost):
            await transport.run("sha256sum", stdin=source, timeout_seconds=20)
        assert pool.warm_nodes() == []
        return await says(pool, node, "wc -c", stdin=source)

    assert within_pool(main).split() == [b"8388608"]
    assert hop.connections == 2


def test_the_hop_is_closed_when_no_node_needs_it_any_more(
    node: NodeAddress, hop: TcpProxy, jump_server: SshServer
) -> None:
    async def main() -> None:
        pool = ConnectionPool(idle_seconds=2)
        assert await says(pool, node) == b"here\n"
        deadline = time.monotonic() + 10
        while jump_server.descendants() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert jump_server.descendants() == []
        await pool.close()

    asyncio.run(main())


def test_a_connection_is_tried_and_a_key_fetched_through_the_hop(
    node: NodeAddress, sshd: SshServer, jump: JumpAddress, hop: TcpProxy, jump_server: SshServer
) -> None:
    assert try_connection(node).error == ""
    assert try_jump_host(jump).error == ""
    assert fetch_host_key(node) == sshd.host_key
    assert hop.connections == 3
    wrong = jump_to(jump_server, hop.port, ssh_host_key=sshd.host_key)
    assert "jump host 'dmz'" in try_connection(ssh_address(sshd, jump=wrong)).error
    assert "jump host 'dmz'" in try_jump_host(wrong).error
    with pytest.raises(JumpHostKeyMismatch):
        fetch_host_key(ssh_address(sshd, jump=wrong))
