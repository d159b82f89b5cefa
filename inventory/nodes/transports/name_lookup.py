"""Addresses of nodes' names. A look-up that hangs keeps no other waiting, and no process from ending."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]

_lock = threading.Lock()
_pending: dict[tuple[str, int], Future[Addresses]] = {}


async def addresses_of(host: str, port: int) -> Addresses:
    """As `socket.getaddrinfo` has them, for TCP. Raises OSError.

    A name is looked up in a thread of its own: asyncio's own pool is small, and full as soon as a few names hang. Who asks
    for one that is being looked up waits for the same answer, so there are never more threads than names.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.wrap_future(_looked_up(host, port))


def _looked_up(host: str, port: int) -> Future[Addresses]:
    with _lock:
        if (host, port) in _pending:
            return _pending[host, port]
        answer: Future[Addresses] = Future()
        answer.set_running_or_notify_cancel()  # one who gives up does not cancel it for the others
        _pending[host, port] = answer
    threading.Thread(target=_look_up, args=(host, port, answer), name=f"lookup-{host}", daemon=True).start()
    return answer


def _look_up(host: str, port: int, answer: Future[Addresses]) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except Exception as error:
        _forget(host, port)
        answer.set_exception(error)
    else:
        _forget(host, port)
        answer.set_result(addresses)


def _forget(host: str, port: int) -> None:
    with _lock:
        _pending.pop((host, port), None)
