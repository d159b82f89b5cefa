"""A program that was started on a node ahead of its call: the call costs neither a channel nor a shell's start.

It is sent as any other (see `bootstrap`), and told by the word `wait` that its arguments come later. It reads an empty
line and prints ACK, so that a connection that has silently died shows before anything was sent; the next line is its
arguments, quoted for sh as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import asyncssh

from inventory.nodes.transports.base import STDOUT, ConnectionLost, Output
from inventory.nodes.transports.bootstrap import COMMAND_LINE, line, message
from inventory.nodes.transports.ssh_session import Session

WAIT = "wait"
ACK = b"\x06"


class Standby:
    """At most one on one connection. `program`: the text of the calls that it is good for, '' for none."""

    def __init__(self, program: str, *, host: str) -> None:
        self._program = program
        self._host = host
        self._session: Session | None = None
        self._waiting = self._new_output()
        self._is_answered = False

    @property
    def is_wanted(self) -> bool:
        """Nobody stands by. A program that ended by itself is not tried again: the node does not allow it."""
        return bool(self._program) and self._session is None and not self._waiting.has_exited

    async def open(self, connection: asyncssh.SSHClientConnection) -> None:
        session = Session(self._waiting, host=self._host)
        await connection.create_session(lambda: session, COMMAND_LINE, encoding=None)
        session.channel.write(message(self._program, [WAIT]))
        self._session = session

    def drop(self) -> bool:
        """Free its channel for another; whether there was one."""
        session, self._session = self._session, None
        if session is not None:
            session.channel.abort()
        return session is not None

    async def wake(
        self, program: str, arguments: Sequence[str], output: Output, *, timeout_seconds: float
    ) -> Session | None:
        """Have it carry out the call, if there is one and it is good for it. TimeoutError: it is silent."""
        if self._session is None or program != self._program:
            return None
        session, self._session = self._session, None
        waiting, self._waiting = self._waiting, self._new_output()
        self._is_answered = False
        try:
            async with asyncio.timeout(timeout_seconds):
                with suppress(BrokenPipeError):
                    session.channel.write(b"\n")
                await waiting.result()
        except ConnectionLost:
            pass
        except BaseException:
            session.channel.abort()
            raise
        if waiting.has_exited:
            self._waiting = waiting
        if waiting.is_over:
            return None
        session.feed_to(output)
        session.channel.write(line(arguments))
        return session

    def _new_output(self) -> Output:
        return Output(on_output=self._hear, is_done=lambda: self._is_answered)

    def _hear(self, stream: str, data: bytes) -> None:
        self._is_answered = self._is_answered or (stream == STDOUT and ACK in data)
