"""Servers that are no node: nonsense before, beside and in place of SSH, and what a login may meet."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from asyncssh.packet import Byte, String, UInt32

from tests.faults.hostile.case import Act, Case, Saying, Serve, lying, words_of
from tests.faults.hostile.in_frames import NASTY
from tests.support.lying_node import Call, Pause, disconnect_at_once

MIB = 1024 * 1024
GREETING = b"SSH-2.0-OpenSSH_9.2\r\n"
CHANNEL_WINDOW_ADJUST, CHANNEL_DATA, CHANNEL_EXTENDED_DATA, CHANNEL_REQUEST = 93, 94, 95, 98


def server_cases(chance: random.Random) -> Iterator[Case]:
    yield from _no_ssh(chance)
    yield from _logins()
    yield from _channels()
    for number in range(3):
        yield Case(kind="wrong host keys", name=f"another key {number}", breaks_key=True)


def _no_ssh(chance: random.Random) -> Iterator[Case]:
    said = {
        "DISCONNECT with NUL before any host key": disconnect_at_once(b"some\0text\x1b[31m"),
        "DISCONNECT, long": disconnect_at_once(b"d" * 20_000),
        "DISCONNECT, bidi": disconnect_at_once(NASTY.encode("utf-8", "surrogateescape")),
        "garbage": chance.randbytes(4_000),
        "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "TLS": b"\x15\x03\x01\x00\x02\x02\x28",
        "greeting, then garbage": GREETING + chance.randbytes(4_000),
        "greeting, then a huge packet": GREETING + b"\x7f\xff\xff\xff" + bytes(1_000),
        "greeting with escapes": b"SSH-2.0-\x1b[2J\x1b]0;x\x07\r\n",
        "an old greeting": b"SSH-1.5-old\r\n",
        "a greeting of 100 kB": b"SSH-2.0-" + b"v" * 100_000 + b"\r\n",
        "nothing": b"",
    }
    for name, data in said.items():
        yield Case(kind="no SSH", name=name, serve=_says(data))
    yield Case(
        kind="no SSH", name="lines before the greeting, without end", serve=_says(b"a line\r\n" * 1_000, times=10_000)
    )
    yield Case(kind="no SSH", name="one line before the greeting, without end", serve=_says(b"x" * 8_000, times=8_000))
    yield Case(kind="no SSH", name="a greeting that drips", serve=_drips(GREETING))
    yield Case(kind="no SSH", name="closes at once", serve=_closes)
    yield Case(kind="no SSH", name="resets", serve=_resets)


def _says(data: bytes, *, times: int = 1) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            writer.write(data)
            await writer.drain()
        await reader.read()

    return serve


def _drips(data: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await asyncio.sleep(1)

    return serve


async def _closes(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def _resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _logins() -> Iterator[Case]:
    settings: dict[str, dict[str, object]] = {
        "a banner of 4 MB": {"banner": "b" * 200_000, "banners": 20},
        "a nasty banner": {"banner": NASTY.replace("\udcff", "")},
        "100,000 banners": {"banner": "x\r\n", "banners": 100_000},
        "login refused": {"refuses_login": True},
        "login refused behind a nasty banner": {"banner": NASTY.replace("\udcff", ""), "refuses_login": True},
        "no session granted (MaxSessions 0)": {"refuses_sessions": "open failed"},
        "no session, a nasty reason": {"refuses_sessions": "\x00\x1b[31m\u202e" + "r" * 20_000},
    }
    for name, each in settings.items():
        yield Case(kind="logins", name=name, settings=each)


def _channels() -> Iterator[Case]:
    silent = lying("channels", "a window that hardly opens", "stage", _with_act, lambda process: None)
    yield replace(silent, settings={"window": 1})
    for name, act in ACTS.items():
        yield lying("channels", name, "stage", _with_act, act)


def _with_act(call: Call, act: Callable[[Any], None]) -> Saying:
    return [call.frames(*words_of(call)[:2]), Act(act), Pause(0.2), call.frames(*words_of(call)[2:])]


def _packets(kind: int, times: int, *values: bytes) -> Callable[[Any], None]:
    def send(process: Any) -> None:
        channel = process.channel
        for _ in range(times):
            channel.get_connection().send_packet(kind, UInt32(channel._send_chan), *values)

    return send


def _request(process: Any, name: bytes, payload: bytes) -> None:
    channel = process.channel
    channel.get_connection().send_packet(CHANNEL_REQUEST, UInt32(channel._send_chan), String(name), Byte(0), payload)


def _debug(process: Any) -> None:
    for _ in range(300):
        process.channel.get_connection().send_debug("\x1b[2J" + "d" * 20_000, "en", True)


def _exit_twice(process: Any) -> None:
    for _ in range(2):
        _request(process, b"exit-status", UInt32(0))


def _other_channel(process: Any) -> None:
    process.channel.get_connection().send_packet(CHANNEL_DATA, UInt32(9_999), String(b"x"))


ACTS: dict[str, Callable[[Any], None]] = {
    "a window of 2^32, many times": _packets(CHANNEL_WINDOW_ADJUST, 2_000, UInt32(2**32 - 1)),
    "data of an unknown stream": _packets(CHANNEL_EXTENDED_DATA, 100, UInt32(77), String(b"x" * 1_000)),
    "data beyond the window": _packets(CHANNEL_DATA, 300, String(b"x" * 30_000)),
    "an unknown message": _packets(200, 1, String(b"x" * 100)),
    "an exit status that is no number": lambda process: _request(process, b"exit-status", String(b"not a number")),
    "an exit status twice": _exit_twice,
    "an unknown request": lambda process: _request(process, b"x" * 10_000, String(b"\0")),
    "many debug messages": _debug,
    "data for no channel": _other_channel,
}
