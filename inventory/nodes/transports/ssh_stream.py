"""A connection to an SSH server through a jump host: a channel on which somebody has begun to speak."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import asyncssh

_Channel = asyncssh.SSHTCPChannel[bytes]
_Session = asyncssh.SSHTCPSession[bytes]


class _Gathering:
    """What asyncssh writes to: all of one turn of the event loop goes into the channel in one piece.

    Else each packet, and the empty one that asyncssh puts before it, would be packed once more by itself, and a server on
    the way would hold the second back until the first is acknowledged (see `ssh_dial.PromptSocket`).
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        self._flush()
        self._channel.close()

    def abort(self) -> None:
        self._flush()
        self._channel.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._channel.get_extra_info(name, default)

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self._channel.is_closing():
            with suppress(BrokenPipeError):
                self._channel.write(b"".join(pieces))


class Stream(_Session):
    """Keeps the server's first bytes until the login takes it over: as `ssh_dial`, for the same reason.

    To asyncssh it is the tunnel, on which exactly one connection is made.
    """

    def __init__(self) -> None:
        self._channel: Any = None
        self._taker: _Session | None = None
        self._first = bytearray()
        self._spoken = asyncio.Event()
        self._lost: Exception | None = None
        self._is_dropped = False

    async def first_bytes(self) -> bytes:
        """b'' when it was closed without a word."""
        await self._spoken.wait()
        return bytes(self._first)

    def drop(self) -> None:
        """Also when it is not open yet: then as soon as it is."""
        self._is_dropped = True
        if self._channel is not None:
            self._channel.abort()

    async def create_connection(
        self, session_factory: Callable[[], _Session], remote_host: str, remote_port: int
    ) -> tuple[_Channel, _Session]:
        """asyncssh's own way to connect; host and port are where this leads already."""
        taker = session_factory()
        # What has come so far comes once asyncssh has put its connection together, and before its first words are sent: so
        # they go out together with what it says to that.
        asyncio.get_running_loop().call_soon(self._hand_over, taker)
        taker.connection_made(cast(_Channel, _Gathering(self._channel)))
        return self._channel, taker

    def _hand_over(self, taker: _Session) -> None:
        self._taker = taker
        if self._first:
            taker.data_received(bytes(self._first), None)
        if self._lost is not None:
            taker.connection_lost(self._lost)

    def connection_made(self, chan: Any) -> None:
        self._channel = chan
        if self._is_dropped:
            chan.abort()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._taker is not None:
            self._taker.data_received(data, datatype)
        else:
            self._first += data
            self._spoken.set()

    def eof_received(self) -> bool:
        self._end(ConnectionResetError("closed by the other side"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("closed by the other side"))

    def _end(self, error: Exception) -> None:
        if self._taker is not None:
            self._taker.connection_lost(error)
        self._lost = error
        self._spoken.set()
