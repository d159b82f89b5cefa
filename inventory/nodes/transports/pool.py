"""Warm connections: one a node, opened when first needed, closed when long unused."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Coroutine, Iterator
from itertools import islice
from typing import Any

from django.conf import settings

from inventory.nodes.transports.base import NodeAddress, NodeUnsuitable, Transport
from inventory.nodes.transports.local import LocalTransport
from inventory.nodes.transports.ssh import SshTransport
from inventory.nodes.transports.ssh_login import Logins
from inventory.told import Told
from inventory.told import marked as _

IDLE_SECONDS = 600.0
# Each takes an open file and some 40 kB of memory; a new one for each visit would cost as much as the visit.
CONNECTIONS = 5_000
FEWEST_CONNECTIONS = 100
# Of the files that a process may have open, for all else.
SPARE_FILES = 300
LOCAL_REFUSED = _("its transport is `local`, which this host does not allow: RELEASE_LOCAL_NODES is not 1")


def most_connections() -> int:
    """That one process keeps; what is in use may be more."""
    files, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files < 0 else max(FEWEST_CONNECTIONS, min(CONNECTIONS, files - SPARE_FILES))


class ConnectionPool:
    """The connections of one event loop. Only ever used on that loop."""

    def __init__(self, *, limit: int | None = None, idle_seconds: float = IDLE_SECONDS, standby: str = "") -> None:
        """limit: None for as many as this process may have.

        standby: what is kept started ahead on each node, see `ssh_standby`; '' for nothing."""
        self._limit = most_connections() if limit is None else limit
        self._idle_seconds = idle_seconds
        self._standby = standby
        self._local = LocalTransport()
        self._warm: dict[NodeAddress, SshTransport] = {}
        self._logins = Logins(lambda: str(settings.SSH_KEY_FILE))
        self._closing: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None

    async def transport(self, address: NodeAddress) -> Transport:
        """A transport with a live connection behind it. Raises NodeUnreachable, HostKeyMismatch, NodeUnsuitable."""
        match address.transport:
            case "local":
                return self._this_machine(address)
            case "ssh":
                return await self._ssh(address)
            case other:
                raise ValueError(f"unknown transport {other!r} of node {address.name}")

    def _this_machine(self, address: NodeAddress) -> Transport:
        """Commands there run as this very process's account, which can read all that it keeps secret."""
        if not settings.LOCAL_NODES:
            raise NodeUnsuitable(Told(LOCAL_REFUSED))
        return self._local

    def warm_nodes(self) -> list[str]:
        """The names of the nodes that a live connection is kept to."""
        return [address.name for address, transport in self._warm.items() if transport.is_warm]

    async def close(self) -> None:
        """Close every connection; programs that still run on the nodes are left alone."""
        if self._expiry is not None:
            self._expiry.cancel()
        for address in list(self._warm):
            self._drop(address)
        self._close_hops()
        await asyncio.gather(*self._closing)

    async def _ssh(self, address: NodeAddress) -> SshTransport:
        transport = self._warm.pop(address, None)
        if transport is None:
            transport = SshTransport(address, logins=self._logins, standby=self._standby)
        transport.address = address
        # Last in the dictionary: the order is that of the latest use.
        self._warm[address] = transport
        transport.used_at = time.monotonic()
        self._make_room()
        self._expire_later()
        await transport.connected()
        return transport

    def _make_room(self) -> None:
        """Over the limit, drop what was not used for longest; what is in use stays, however many they are.

        It is asked at each use: with thousands of connections it must not look at all of them.
        """
        surplus = len(self._warm) - self._limit
        if surplus > 0:
            for address in list(islice(self._idle(), surplus)):
                self._drop(address)

    def _idle(self) -> Iterator[NodeAddress]:
        """But for the one used last, those that nothing runs on, the longest unused first."""
        others = islice(self._warm.items(), len(self._warm) - 1)
        return (address for address, transport in others if not transport.running)

    def _expire_later(self) -> None:
        if self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(self._idle_seconds / 10, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        limit = time.monotonic() - self._idle_seconds
        for address, transport in list(self._warm.items()):
            if not transport.running and transport.used_at < limit:
                self._drop(address)
        self._close_hops()
        if self._warm:
            self._expire_later()

    def _close_hops(self) -> None:
        """Those to jump hosts that no node's connection goes through."""
        used = {address.jump for address in self._warm if address.jump is not None}
        for hop in self._logins.hops.keep_only(used):
            self._close_later(hop.close())

    def _drop(self, address: NodeAddress) -> None:
        self._close_later(self._warm.pop(address).close())

    def _close_later(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
