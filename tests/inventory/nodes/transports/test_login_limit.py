"""sshd that has few turns for logins (MaxStartups) is asked again until everybody is in."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.nodes.transports import login_limit
from inventory.nodes.transports.base import NodeUnreachable
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.pool import ConnectionPool
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.sshd import SshServer, ssh_server


@pytest.fixture(scope="module")
def narrow() -> Iterator[SshServer]:
    """It lets one in at a time."""
    with ssh_server(options=["# one"]) as server:
        configuration = server.folder / "sshd_config"
        configuration.write_text(configuration.read_text().replace("MaxStartups 2000:30:4000", "MaxStartups 1"))
        server.stop()
        server.start()
        yield server


@pytest.fixture(autouse=True)
def key(settings: Any, narrow: SshServer) -> None:
    settings.SSH_KEY_FILE = str(narrow.private_key)


async def log_in_to_all(pool: ConnectionPool, server: SshServer, count: int, **more: Any) -> None:
    addresses = [ssh_address(server, name=f"node-{number}", **more) for number in range(count)]
    await asyncio.gather(*(pool.transport(address) for address in addresses))
    assert len(pool.warm_nodes()) == count


def test_eight_nodes_behind_one_turn_all_get_in(narrow: SshServer) -> None:
    async def main() -> None:
        pool = ConnectionPool()
        await log_in_to_all(pool, narrow, 8)
        await pool.close()

    asyncio.run(main())


def test_two_workers_share_it_without_knowing_of_each_other(narrow: SshServer) -> None:
    async def main() -> None:
        pools = [ConnectionPool(), ConnectionPool()]
        await asyncio.gather(*(log_in_to_all(pool, narrow, 8) for pool in pools))
        for pool in pools:
            await pool.close()

    asyncio.run(main())


def test_so_do_eight_nodes_behind_a_jump_host_that_is_as_narrow(narrow: SshServer) -> None:
    fields: dict[str, Any] = {key: value for key, value in narrow.node_fields.items() if key != "transport"}

    async def main() -> None:
        pool = ConnectionPool()
        await log_in_to_all(pool, narrow, 8, jump=JumpAddress(name="dmz", **fields))
        await pool.close()

    asyncio.run(main())


def test_who_is_turned_away_for_good_is_told_so(narrow: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_limit, "FULL_SECONDS", 0.5)
    with socket.create_connection((narrow.host, narrow.port)) as holder:
        holder.recv(100)
        with pytest.raises(NodeUnreachable, match="MaxStartups"):
            asyncio.run(ConnectionPool().transport(ssh_address(narrow)))


def test_a_server_that_closes_every_connection_is_given_up_sooner(narrow: SshServer) -> None:
    """It may be full, as an old sshd that does not say so; more likely nobody is behind it."""

    async def main() -> float:
        closing = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        began = time.monotonic()
        async with closing:
            port = closing.sockets[0].getsockname()[1]
            with pytest.raises(NodeUnreachable, match="closes each connection"):
                await ConnectionPool().transport(ssh_address(narrow, ssh_port=port))
        return time.monotonic() - began

    assert login_limit.CLOSED_SECONDS < asyncio.run(main()) < login_limit.CLOSED_SECONDS + 4
