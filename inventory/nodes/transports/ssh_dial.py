"""Reaching a node's sshd: a TCP connection on which somebody has begun to speak."""

from __future__ import annotations

import asyncio
import socket

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
        connection = socket.socket(family, kind, protocol)
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
