"""`python -m bench.simulated.servers FOLDER HOST COUNT`: so many nodes in one process, each on a port of its own.

FOLDER has `host_key` and `authorized_keys`. Prints the ports as one line of JSON, then serves until its stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import asyncssh

from bench.simulated.answers import ERR, OUT, Root, Said, said_to, words_of

ROOTS: defaultdict[str, Root] = defaultdict(Root)
ACK = b"\x06\n"


class Program(asyncssh.SSHServerSession[bytes]):
    """Our node program: a header, its own text, then calls, each a line and what it reads."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._first = b""
        self._text_bytes = -1
        self._awaits_bytes = 0
        self._mark, self._said = "", Said(frames=())
        self._stays = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        return True

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._received += data
        while self._advance():
            pass

    def eof_received(self) -> bool:
        self._channel.exit(0)
        return False

    def _advance(self) -> bool:
        """Takes one piece of what was received; False: there is none that is whole."""
        if self._text_bytes:
            return self._take_text()
        if self._awaits_bytes:
            return self._take_upload()
        line = self._take_line()
        if line is None:
            return False
        self._take_call(words_of(line.decode()))
        return True

    def _take_line(self) -> bytes | None:
        if self._first:
            line, self._first = self._first, b""
            return line
        end = self._received.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def _take_text(self) -> bool:
        if self._text_bytes < 0:
            header = self._take_line()
            if header is None:
                return False
            _name, length, self._first = header.split(b" ", 2)
            self._text_bytes = int(length)
        taken = min(self._text_bytes, len(self._received))
        del self._received[:taken]
        self._text_bytes -= taken
        return taken > 0

    def _take_upload(self) -> bool:
        taken = min(self._awaits_bytes, len(self._received))
        del self._received[:taken]
        self._awaits_bytes -= taken
        if not self._awaits_bytes:
            self._end_call()
        return taken > 0

    def _take_call(self, words: list[str]) -> None:
        match words:
            case []:
                self._channel.write(ACK)
                return
            case ["wait"]:
                self._stays = True
                return
            case ["stay", *words]:
                self._stays = True
        self._mark, task, root, _fence, *arguments = words
        self._said = said_to(task, ROOTS[root], arguments)
        self._say(OUT, self._said.frames)
        self._awaits_bytes = self._said.awaits_bytes
        if not self._awaits_bytes:
            self._end_call()

    def _end_call(self) -> None:
        if self._said.errors:
            self._say(ERR, self._said.errors)
        self._say(OUT, [*self._said.then, *(["ready"] if self._stays else [])])
        if not self._stays:
            self._channel.exit(0)

    def _say(self, stream: int, frames: Any) -> None:
        data = "".join(f"{self._mark} {frame}\n" for frame in frames).encode()
        if data:
            self._channel.write(data, asyncssh.EXTENDED_DATA_STDERR if stream == ERR else None)


class Server(asyncssh.SSHServer):
    def session_requested(self) -> Program:
        return Program()


async def main() -> None:
    folder, host, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    options = asyncssh.SSHServerConnectionOptions(
        server_factory=Server,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "authorized_keys"),
        encoding=None,
        allow_pty=False,
        line_editor=False,
        login_timeout=0,
    )
    servers = [await asyncssh.listen(host, 0, options=options) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main())
