"""One SSH channel with one program on it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import asyncssh
from asyncssh import EXTENDED_DATA_STDERR

from inventory.nodes.transports.base import STDERR, STDOUT, ConnectionLost, Output, TransportError, shown
from inventory.told import Told, verbatim
from inventory.told import marked as _

_CHUNK_BYTES = 256 * 1024


class Session(asyncssh.SSHClientSession[bytes]):
    """Feeds `output` with what comes over the channel."""

    channel: asyncssh.SSHClientChannel[bytes]

    def __init__(self, output: Output, *, host: str) -> None:
        self.is_open = False
        self._output = output
        self._host = host
        self._may_write = asyncio.Event()
        self._may_write.set()

    async def may_write(self) -> None:
        await self._may_write.wait()

    def feed_to(self, output: Output) -> None:
        """From now on; what has come so far is done with."""
        self._output = output
        self._drive()

    def kill(self) -> None:
        """Ask sshd to kill the program's process group, if it is still there to ask."""
        with suppress(OSError):
            self.channel.kill()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The node has granted the channel; the command goes out next."""
        self.channel = chan
        self.is_open = True
        self._drive()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._output.feed(STDERR if datatype == EXTENDED_DATA_STDERR else STDOUT, data)
        if self._output.is_refused:
            self.channel.abort()

    def eof_received(self) -> bool:
        self._output.end(STDOUT, STDERR)
        return True

    def exit_status_received(self, status: int) -> None:
        self._output.exited(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._output.exited(None)

    def connection_lost(self, exc: Exception | None) -> None:
        said = shown(str(exc or ""))
        reason = verbatim(said) if said else Told(_("closed by the node"))
        text = _("%(host)s: cut while a command ran: %(said)s")
        self._output.fail(ConnectionLost(Told(text, {"host": self._host, "said": reason})))

    def _drive(self) -> None:
        self._output.read_from(pause=self.channel.pause_reading, resume=self.channel.resume_reading)

    def fail(self, error: TransportError) -> None:
        self._output.fail(error)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()


async def feed(session: Session, before: bytes, stdin: Path | bytes | None) -> None:
    """Send `before`, then the program's stdin, and close it. A program that ends without reading it all is in its right."""
    try:
        session.channel.write(before)
        if isinstance(stdin, Path):
            await _feed_file(session, stdin)
        elif stdin is not None:
            session.channel.write(stdin)
        session.channel.write_eof()
    except ConnectionError:
        return
    except OSError as error:
        # Else the program would wait for the rest until its deadline.
        text = _("what is to be sent can't be read on this machine: %(said)s")
        session.fail(ConnectionLost(Told(text, {"said": str(error.strerror)})))


async def _feed_file(session: Session, path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            session.channel.write(chunk)
            await session.may_write()
