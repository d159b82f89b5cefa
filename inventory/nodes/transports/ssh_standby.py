"""Programs on a node that wait for their next call: that costs neither a channel nor a shell's start.

One is sent as any other (see `bootstrap`), told by the word `stay` before its arguments that more calls will come, or by the
word `wait` that the first one will, too. Each further call is a line of arguments, quoted for sh as ever, and then what that
call reads. When it is ready for the next it says so, and an empty line it answers with ACK, so that a connection that has
silently died shows before anything was sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import asyncssh

from inventory.nodes.transports.base import STDOUT, ConnectionLost, Output
from inventory.nodes.transports.bootstrap import COMMAND_LINE, line, message
from inventory.nodes.transports.ssh_session import Session

WAIT, STAY = "wait", "stay"
ACK = b"\x06"
# Of the call before, behind its mark.
READY = b" ready\n"
# A connection that was heard so lately is not asked whether it lives.
FRESH_SECONDS = 1.0
# How long one that has ended a call may take to be ready for the next; a new one costs less than to wait on.
READY_SECONDS = 0.25


class _Waiting:
    """A program between two calls. What it says then, nobody wants."""

    def __init__(self, *, host: str, session: Session | None = None, is_ready: bool = False) -> None:
        """session: one whose program has ended a call just now; else one is to be opened."""
        self.output = Output(on_output=self._hear, is_done=lambda: self._is_ready)
        self.is_kept = session is not None
        self.session = session or Session(self.output, host=host)
        self._heard_at = time.monotonic()
        self._is_ready = is_ready
        if session:
            session.feed_to(self.output)

    async def check(self) -> None:
        """Raises NodeMisbehaved."""
        if self.output.is_refused:
            with suppress(ConnectionLost):
                await self.output.result()

    async def is_there(self, *, timeout_seconds: float) -> bool:
        """Raises TimeoutError: it is silent."""
        if self.is_kept and not self._is_ready:
            return await self._becomes_ready()
        if not self.is_kept or time.monotonic() - self._heard_at > FRESH_SECONDS:
            await self._ask(timeout_seconds)
        return not self.output.is_over

    async def _becomes_ready(self) -> bool:
        with suppress(ConnectionLost, TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                await self.output.result()
        return self._is_ready and not self.output.is_over

    async def _ask(self, timeout_seconds: float) -> None:
        self._is_ready = False
        try:
            async with asyncio.timeout(timeout_seconds):
                with suppress(BrokenPipeError):
                    self.session.channel.write(b"\n")
                await self.output.result()
        except ConnectionLost:
            return
        except BaseException:
            self.session.channel.abort()
            raise

    def _hear(self, stream: str, data: bytes) -> None:
        self._heard_at = time.monotonic()
        self._is_ready = self._is_ready or (stream == STDOUT and (ACK in data or READY in data))


class Standby:
    """The waiting programs of one connection. `program`: the text of the calls that they are good for, '' for none."""

    def __init__(self, program: str, *, host: str) -> None:
        self._program = program
        self._host = host
        self._waiting: list[_Waiting] = []
        self._is_refused = False

    @property
    def is_wanted(self) -> bool:
        """Nobody stands by. When one that was to wait ended at once, none is tried again: the node does not allow it."""
        self._forget_ended()
        return bool(self._program) and not self._waiting and not self._is_refused

    async def open(self, connection: asyncssh.SSHClientConnection) -> None:
        """One for calls that may come."""
        waiting = _Waiting(host=self._host)
        await connection.create_session(lambda: waiting.session, COMMAND_LINE, encoding=None)
        waiting.session.channel.write(message(self._program, [WAIT]))
        self._waiting.append(waiting)

    def keep(self, session: Session, *, is_ready: bool) -> None:
        """It has ended a call, and waits for the next, or is about to."""
        self._waiting.append(_Waiting(host=self._host, session=session, is_ready=is_ready))

    def drop(self, *, but: int = 0) -> bool:
        """Free their channels for others; whether there were any."""
        dropped = self._waiting[but:]
        del self._waiting[but:]
        for waiting in dropped:
            waiting.session.channel.abort()
        return bool(dropped)

    async def wake(
        self, program: str, arguments: Sequence[str], output: Output, *, timeout_seconds: float
    ) -> Session | None:
        """Have one carry out the call, if there is one and it is good for it. TimeoutError: it is silent.

        Raises NodeMisbehaved for what one has said while nobody listened.
        """
        for waiting in self._waiting:
            await waiting.check()
        self._forget_ended()
        while program == self._program and self._waiting:
            waiting = self._waiting.pop()
            if await waiting.is_there(timeout_seconds=timeout_seconds):
                waiting.session.feed_to(output)
                waiting.session.channel.write(line(arguments))
                return waiting.session
            waiting.session.channel.abort()
        return None

    def _forget_ended(self) -> None:
        ended = [each for each in self._waiting if each.output.has_exited]
        self._is_refused = self._is_refused or not all(each.is_kept for each in ended)
        self._waiting = [each for each in self._waiting if not each.output.is_over]
