from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from inventory.nodes.transports.base import NodeUnreachable, NodeUnsuitable
from inventory.nodes.transports.pool import ConnectionPool
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.ports import free_port
from tests.support.sshd import SshServer
from tests.support.tcp_proxy import tcp_proxy


@pytest.fixture(autouse=True)
def key(settings: Any, sshd: SshServer) -> None:
    settings.SSH_KEY_FILE = str(sshd.private_key)


def in_loop(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_it_gives_the_same_warm_connection_to_everyone_who_asks_at_once(sshd: SshServer) -> None:
    async def main(port: int) -> None:
        pool = ConnectionPool()
        transports = await asyncio.gather(*(pool.transport(ssh_address(sshd, ssh_port=port)) for _ in range(20)))
        assert len({id(transport) for transport in transports}) == 1
        await pool.close()

    with tcp_proxy(sshd.port) as proxy:
        in_loop(main(proxy.port))
        assert proxy.connections == 1


def test_it_connects_again_after_a_cut(sshd: SshServer) -> None:
    with tcp_proxy(sshd.port) as proxy:

        async def main() -> None:
            pool = ConnectionPool()
            address = ssh_address(sshd, ssh_port=proxy.port)
            await pool.transport(address)
            proxy.cut()
            await asyncio.sleep(0.2)
            transport = await pool.transport(address)
            assert (await transport.run("true", timeout_seconds=10)).exit_status == 0
            await pool.close()

        in_loop(main())
        assert proxy.connections == 2


def test_it_says_at_once_that_a_node_is_unreachable(sshd: SshServer) -> None:
    async def main() -> None:
        pool = ConnectionPool()
        with pytest.raises(NodeUnreachable):
            await pool.transport(ssh_address(sshd, ssh_port=free_port()))
        await pool.close()

    in_loop(main())


def test_it_closes_what_nobody_has_used_for_long(sshd: SshServer) -> None:
    async def main() -> None:
        pool = ConnectionPool(idle_seconds=0.5)
        idle = await pool.transport(ssh_address(sshd, name="idle"))
        busy = await pool.transport(ssh_address(sshd, name="busy"))
        running = asyncio.create_task(busy.run("sleep 1.5", timeout_seconds=10))
        await asyncio.sleep(1)
        assert await pool.transport(ssh_address(sshd, name="idle")) is not idle
        assert await pool.transport(ssh_address(sshd, name="busy")) is busy
        assert (await running).exit_status == 0
        await pool.close()

    in_loop(main())


def test_over_its_limit_it_drops_the_least_recently_used(sshd: SshServer) -> None:
    async def main() -> None:
        pool = ConnectionPool(limit=2)
        first = await pool.transport(ssh_address(sshd, name="first"))
        second = await pool.transport(ssh_address(sshd, name="second"))
        assert await pool.transport(ssh_address(sshd, name="first")) is first
        await pool.transport(ssh_address(sshd, name="third"))
        assert await pool.transport(ssh_address(sshd, name="first")) is first
        assert await pool.transport(ssh_address(sshd, name="second")) is not second
        await pool.close()

    in_loop(main())


def test_over_its_limit_it_spares_what_is_in_use(sshd: SshServer) -> None:
    async def main() -> None:
        pool = ConnectionPool(limit=2)
        busy = await pool.transport(ssh_address(sshd, name="busy"))
        await pool.transport(ssh_address(sshd, name="idle"))
        running = asyncio.create_task(busy.run("sleep 1", timeout_seconds=10))
        await asyncio.sleep(0.2)
        await pool.transport(ssh_address(sshd, name="third"))
        assert sorted(pool.warm_nodes()) == ["busy", "third"]
        assert (await running).exit_status == 0
        await pool.close()

    in_loop(main())


@pytest.mark.parametrize(("files", "most"), [(1_024, 724), (256, 100)])
def test_it_keeps_as_many_connections_as_the_process_may_have_files_open(files: int, most: int) -> None:
    script = "from inventory.nodes.transports.pool import most_connections; print(most_connections())"
    shell = f'ulimit -S -n {files} && exec {sys.executable} -c "{script}"'
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    said = subprocess.run(("sh", "-c", shell), env=environment, capture_output=True, text=True, check=True)
    assert int(said.stdout) == most


def test_a_node_of_transport_local_needs_no_connection(sshd: SshServer) -> None:
    async def main() -> None:
        pool = ConnectionPool()
        transport = await pool.transport(ssh_address(sshd, transport="local"))
        assert (await transport.run("echo here", timeout_seconds=10)).stdout == b"here\n"
        await pool.close()

    in_loop(main())


def test_this_machine_is_no_node_where_that_is_not_allowed(sshd: SshServer, settings: Settings) -> None:
    settings.LOCAL_NODES = False

    async def main() -> None:
        pool = ConnectionPool()
        with pytest.raises(NodeUnsuitable, match="RELEASE_LOCAL_NODES"):
            await pool.transport(ssh_address(sshd, transport="local"))
        await pool.close()

    in_loop(main())


def test_nodes_that_accept_and_never_answer_hold_up_no_other(sshd: SshServer) -> None:
    async def main(port: int) -> None:
        pool = ConnectionPool()
        mute = [
            asyncio.ensure_future(pool.transport(ssh_address(sshd, name=f"mute-{n}", ssh_port=port))) for n in range(40)
        ]
        await asyncio.sleep(0.3)
        async with asyncio.timeout(3):
            await pool.transport(ssh_address(sshd))
        assert pool.warm_nodes() == ["node-1"]
        for task in mute:
            task.cancel()
        await asyncio.gather(*mute, return_exceptions=True)
        await pool.close()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as mute:
        in_loop(main(mute.getsockname()[1]))
