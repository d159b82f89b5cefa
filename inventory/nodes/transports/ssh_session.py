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
# When nobody has said a word by then, the end of the input is sent after all: it may be a profile that reads to the end.
SILENT_SECONDS = 5.0


class Session(asyncssh.SSHClientSession[bytes]):
    """Feeds `output` with what comes over the channel."""

    channel: asyncssh.SSHClientChannel[bytes]

    def __init__(self, output: Output, *, host: str) -> None:
        self.is_open = False
        self.has_spoken = asyncio.Event()
        self.has_input_ended = False
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

    def end_input(self) -> None:
        """There will be no further call."""
        self.has_input_ended = True
        self.channel.write_eof()

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
        self.has_spoken.set()
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


async def feed(
    session: Session,
    before: bytes,
    stdin: Path | bytes | None,
    *,
    is_last: bool,
    size: int | None = None,
    wanted: asyncio.Event | None = None,
) -> None:
    """Send `before`, then the program's stdin once that is wanted, and close it when that is its last call.

    A program that ends without reading it all is in its right. size: of a file, that the program waits for.
    """
    try:
        session.channel.write(before)
        if before and not is_last and await _is_silent(session):
            session.end_input()
            return
        if wanted is not None:
            await wanted.wait()
        await _feed_stdin(session, stdin, size)
        if is_last:
            session.end_input()
    except ConnectionError:
        return
    except OSError as error:
        # Else the program would wait for the rest until its deadline.
        text = _("what is to be sent can't be read on this machine: %(said)s")
        session.fail(ConnectionLost(Told(text, {"said": str(error.strerror)})))


async def _feed_stdin(session: Session, stdin: Path | bytes | None, size: int | None) -> None:
    if isinstance(stdin, Path):
        sent = await _feed_file(session, stdin)
        if size not in (None, sent):
            # Else the program would wait for the rest until its deadline, or take what is too much for its next call.
            text = _("%(path)s has %(sent)s bytes, %(size)s were to be sent: it was changed meanwhile")
            session.fail(ConnectionLost(Told(text, {"path": str(stdin), "sent": sent, "size": str(size)})))
    elif stdin is not None:
        session.channel.write(stdin)


async def _feed_file(session: Session, path: Path) -> int:
    """How many bytes it had."""
    sent = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            session.channel.write(chunk)
            sent += len(chunk)
            await session.may_write()
    return sent


async def _is_silent(session: Session) -> bool:
    try:
        async with asyncio.timeout(SILENT_SECONDS):
            await session.has_spoken.wait()
    except TimeoutError:
        return True
    return False
