from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from inventory.nodes.transports.base import NodeAddress, Transport
from inventory.nodes.transports.local import LocalTransport
from inventory.nodes.transports.ssh import SshTransport
from tests.support.sshd import SshServer

Opened = Callable[[], AbstractAsyncContextManager[Transport]]


def ssh_address(sshd: SshServer, **changed: object) -> NodeAddress:
    return NodeAddress(**{"name": "node-1", **sshd.node_fields, **changed})  # type: ignore[arg-type]


@pytest.fixture(params=["local", "ssh"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str, request: pytest.FixtureRequest) -> Opened:
    """Both transports through one door: `async with opened() as transport`."""

    @asynccontextmanager
    async def open_transport() -> AsyncIterator[Transport]:
        transport: Transport = LocalTransport()
        if kind == "ssh":
            sshd = request.getfixturevalue("sshd")
            transport = SshTransport(ssh_address(sshd), key_file=str(sshd.private_key))
        try:
            yield transport
        finally:
            await transport.close()

    return open_transport


@pytest.fixture
def folder(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder that the node's programs may write to."""
    yield Path(request.getfixturevalue("sshd").node_root()) if kind == "ssh" else tmp_path
