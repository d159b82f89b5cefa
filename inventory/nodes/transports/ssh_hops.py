"""Connections to jump hosts: one each, shared by all nodes behind it, and what goes wrong at the hop told as such."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any, cast

import asyncssh

from inventory.nodes.transports.base import (
    HostKeyMismatch,
    JumpHostKeyMismatch,
    JumpUnreachable,
    NodeAddress,
    NodeUnreachable,
    TransportError,
    shown,
)
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.login_limit import TurnedAway, check_greeting
from inventory.nodes.transports.ssh_stream import Stream
from inventory.told import Facts, Told, verbatim
from inventory.told import marked as _

Address = NodeAddress | JumpAddress
LogIn = Callable[[JumpAddress], Awaitable[asyncssh.SSHClientConnection]]

# A failure is remembered for as long as it took to find out, within these: whoever comes meanwhile hears of it at once.
SHORTEST_MEMORY_SECONDS = 0.3
LONGEST_MEMORY_SECONDS = 10.0
# A jump host answers this at once, whatever it is asked.
ANSWER_SECONDS = 2.0


class Hop:
    """The way to one jump host, over and over."""

    def __init__(self, address: JumpAddress, log_in: LogIn) -> None:
        self._address = address
        self._log_in = log_in
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._failure: TransportError | None = None
        self._failed_until = 0.0

    async def connected(self) -> asyncssh.SSHClientConnection:
        """All who wait share one attempt, its deadline and its failure. Raises JumpUnreachable, JumpHostKeyMismatch."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._failure is not None and time.monotonic() < self._failed_until:
            raise type(self._failure)(self._failure.told)
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(_heard)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        began = time.monotonic()
        try:
            self._connection = await self._log_in(self._address)
        except TransportError as error:
            self._failure = told = _at_the_hop(self._address, error)
            took = time.monotonic() - began
            self._failed_until = began + took + min(max(took, SHORTEST_MEMORY_SECONDS), LONGEST_MEMORY_SECONDS)
            raise told from error
        self._failure = None
        return self._connection

    async def check_alive(self) -> None:
        """Raises JumpUnreachable, and lets go of all that goes through it, unless it answers."""
        connection = self._connection
        if connection is None or connection.is_closed():
            text = _("the connection to jump host '%(jump)s' broke")
            raise JumpUnreachable(Told(text, {"jump": self._address.name}))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                # There is nothing to be connected to; that it says so is the answer.
                await connection.create_unix_connection(_unheard, "/", encoding=None)
        except TimeoutError:
            connection.abort()
            text = _("jump host '%(jump)s' has fallen silent")
            raise JumpUnreachable(Told(text, {"jump": self._address.name})) from None
        except (OSError, asyncssh.Error):
            return

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if self._connecting is not None:
            self._connecting.cancel()
        if connection is not None:
            connection.abort()
            await connection.wait_closed()


class Hops:
    """The jump hosts of one event loop."""

    def __init__(self, log_in: LogIn) -> None:
        self._log_in = log_in
        self._hops: dict[JumpAddress, Hop] = {}
        self._seen: dict[Address, datetime] = {}

    async def to(self, address: JumpAddress) -> Hop:
        """With a live connection. Raises JumpUnreachable, JumpHostKeyMismatch."""
        hop = self._hops.setdefault(address, Hop(address, self._log_in))
        await hop.connected()
        return hop

    async def stream(self, hop: Hop, address: Address) -> Stream:
        """To the server behind the hop, which has begun to speak. Raises TurnedAway, NodeUnreachable, JumpUnreachable."""
        connection = await hop.connected()
        stream = Stream()
        opening = asyncio.ensure_future(_opened(connection, stream, address))
        opening.add_done_callback(_heard)
        try:
            await asyncio.shield(opening)
            check_greeting(await stream.first_bytes())
            return stream
        except asyncssh.ChannelOpenError as error:
            if connection.is_closed():
                await hop.check_alive()
            raise self._not_let_through(address, error) from error
        except BaseException:
            stream.drop()
            raise

    def _not_let_through(self, address: Address, error: asyncssh.ChannelOpenError) -> Exception:
        assert address.jump is not None
        facts: Facts = {
            "jump": address.jump.name,
            "user": address.jump.ssh_user,
            "where": f"{address.host}:{address.ssh_port}",
            "said": verbatim(shown(error.reason)) if shown(error.reason) else Told(_("no reason given")),
        }
        if error.code == asyncssh.OPEN_RESOURCE_SHORTAGE:
            return TurnedAway()
        if address.jump_socket:
            text = _(
                "its tunnel is not there, %(seen)s: on jump host '%(jump)s' nobody answers at %(socket)s, or %(user)s may not "
                "open it"
            )
            return NodeUnreachable(
                Told(text, {**facts, "seen": self._last_seen(address), "socket": address.jump_socket})
            )
        if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
            text = _(
                "jump host '%(jump)s' does not let %(user)s through to %(where)s (%(said)s): see AllowTcpForwarding and "
                "PermitOpen there"
            )
            return JumpUnreachable(Told(text, facts))
        return NodeUnreachable(Told(_("%(where)s can't be reached from jump host '%(jump)s': %(said)s"), facts))

    def saw(self, address: Address) -> None:
        """The node answered just now."""
        if address.jump_socket:
            self._seen[address] = datetime.now(UTC)

    def _last_seen(self, address: Address) -> Told:
        known = address.seen_at if isinstance(address, NodeAddress) else None
        seen_at = max(filter(None, (known, self._seen.get(address))), default=None)
        if not seen_at:
            return Told(_("never seen"))
        return Told(_("last seen %(time)s UTC"), {"time": f"{seen_at:%Y-%m-%d %H:%M:%S}"})

    def keep_only(self, used: Collection[JumpAddress]) -> list[Hop]:
        """Forget the others; they are to be closed."""
        kept = {each for address in used for each in address.chain}
        return [self._hops.pop(address) for address in list(self._hops) if address not in kept]

    async def close(self) -> None:
        for hop in self.keep_only(()):
            await hop.close()


async def _opened(connection: asyncssh.SSHClientConnection, stream: Stream, address: Address) -> None:
    if address.jump_socket:
        await connection.create_unix_connection(cast(Any, lambda: stream), address.jump_socket, encoding=None)
    else:
        await connection.create_connection(lambda: stream, address.host, address.ssh_port, encoding=None)


def _unheard() -> Any:
    stream = Stream()
    stream.drop()
    return stream


def _at_the_hop(address: JumpAddress, error: TransportError) -> TransportError:
    """What is wrong with a server on the way is not wrong with the node."""
    if isinstance(error, JumpUnreachable | JumpHostKeyMismatch):
        return error
    kind = JumpHostKeyMismatch if isinstance(error, HostKeyMismatch) else JumpUnreachable
    return kind(Told(_("jump host '%(jump)s': %(what)s"), {"jump": address.name, "what": error.told}))


def _heard(task: asyncio.Future[Any]) -> None:
    """An error that nobody waits for any more is no news."""
    if not task.cancelled():
        task.exception()
