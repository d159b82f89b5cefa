"""The worker has no route to its node: networks of their own, made real by namespaces."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from inventory.nodes.transports import ssh_login
from inventory.nodes.transports.base import NodeUnreachable
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.pool import ConnectionPool
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.sshd import ssh_server
from tests.support.two_hosts import behind, network_of


def test_a_node_that_the_jump_host_alone_can_reach(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_login, "CONNECT_SECONDS", 2)
    with (
        network_of(1, prefix="198.18.79") as [dmz],
        behind(dmz) as hidden,
        ssh_server(host=dmz.address, within=dmz.within) as jump_server,
        ssh_server(host=hidden.address, within=hidden.within) as node,
    ):
        settings.SSH_KEY_FILE = str(node.private_key)
        (jump_server.folder / "authorized_keys").write_text(node.private_key.with_suffix(".pub").read_text())
        fields: dict[str, Any] = {**jump_server.node_fields, "name": "dmz"}
        del fields["transport"]

        async def main() -> bytes:
            pool = ConnectionPool()
            with pytest.raises(NodeUnreachable):
                await pool.transport(ssh_address(node))
            transport = await pool.transport(ssh_address(node, jump=JumpAddress(**fields)))
            said = (await transport.run("echo $SSH_CONNECTION", timeout_seconds=10)).stdout
            await pool.close()
            return said

        client, _port, server, _own_port = asyncio.run(main()).decode().split()
        assert (client, server) == ("198.18.78.1", hidden.address)
