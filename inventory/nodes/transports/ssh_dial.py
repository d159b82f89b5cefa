"""Reaching a node's sshd: a TCP connection on which somebody has begun to speak."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from inventory.nodes.transports.login_limit import TurnedAway, check_greeting
from inventory.nodes.transports.name_lookup import addresses_of

# Enough to see whether it is a greeting.
_PEEKED_BYTES = 64


async def dial(host: str, port: int) -> socket.socket:
    """A connected socket with the server's first bytes waiting in it.

    So what comes next costs computing, not waiting, and whoever limits that isn't held up by nodes that never answer.
    Tries each address of the host in turn. Raises OSError; TurnedAway when somebody listens, and has no turn for us.
    """
    loop = asyncio.get_running_loop()
    addresses = await addresses_of(host, port)
    for number, (family, kind, protocol, _, address) in enumerate(addresses, start=1):
        connection = PromptSocket(family, kind, protocol)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, address)
            await _first_bytes(connection)
            return connection
        except OSError:
            connection.close()
            if number == len(addresses):
                raise
        except BaseException:
            connection.close()
            raise
    raise OSError(f"{host} has no address")


class PromptSocket(socket.socket):
    """Acknowledges at once what it has read.

    An sshd holds a small packet back while the one before it is not acknowledged (Nagle's algorithm), and a kernel puts an
    acknowledgement off by 40 ms when it has nothing to send along: together they would stop a program that speaks now and
    then for that long, over and over. Linux forgets the option with each packet.
    """

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        with suppress(OSError):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


async def _first_bytes(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _done, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection)
    try:
        check_greeting(connection.recv(_PEEKED_BYTES, socket.MSG_PEEK))
    except ConnectionResetError:
        raise TurnedAway from None


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
