"""Programs on a node over SSH: one connection, kept warm, opened again when it is found dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path

import asyncssh

from inventory.nodes.transports.base import (
    CommandResult,
    ConnectionLost,
    IsDone,
    Login,
    NodeAddress,
    NodeMisbehaved,
    NodeUnreachable,
    NodeUnsuitable,
    OnOutput,
    Output,
    RunTimeout,
    TransportError,
    shown,
)
from inventory.nodes.transports.bootstrap import COMMAND_LINE, message
from inventory.nodes.transports.flow import Flow
from inventory.nodes.transports.ssh_login import Logins
from inventory.nodes.transports.ssh_session import Session, feed
from inventory.nodes.transports.ssh_standby import STAY, Standby
from inventory.told import Told, verbatim
from inventory.told import marked as _

# sshd's MaxSessions is 10 unless set otherwise; two are left for what is urgent.
SESSIONS = 8
# How long a node may take to open a channel: a connection that has silently died shows here.
CHANNEL_SECONDS = 10.0
# A node may grant fewer sessions than SESSIONS, and takes a moment to notice that one has ended.
SESSION_RETRY_SECONDS = 0.05
LONELY_SECONDS = 2.0
KILL_SECONDS = 1.0
# A program is made to stand by once nothing was asked of the node for so long: not in the middle of an operation, whose
# other nodes wait for the same worker.
STAND_BY_AFTER_SECONDS = 2.0

asyncssh.set_log_level("ERROR")


class SshTransport:
    """One node's connection. Any number of `run` at once; only `SESSIONS` of them are on the node together."""

    def __init__(
        self, address: NodeAddress, *, key_file: str = "", logins: Logins | None = None, standby: str = ""
    ) -> None:
        """logins: shared by all transports of a loop; without it one of its own, with key_file.

        standby: a program that understands `ssh_standby`; one is kept started ahead of its call. '' for none.
        """
        self.address = address
        self.login: Login | None = None
        self.running = 0
        self.used_at = time.monotonic()
        self._owns_logins = logins is None
        self._logins = logins or Logins(lambda: key_file)
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._standby_program = standby
        self._standby = Standby("", host=address.host)
        self._standby_timer: asyncio.TimerHandle | None = None
        self._standing_by: asyncio.Task[None] | None = None

    @property
    def is_warm(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def connected(self) -> asyncssh.SSHClientConnection:
        """The live connection, made now if there is none. Raises NodeUnreachable, HostKeyMismatch.

        All who wait share one attempt and its failure: a dead node costs its instances one deadline, not one each.
        """
        if self._connection is not None and self.is_warm:
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        began = time.monotonic()
        self._connection = await self._logins.log_in(self.address)
        self.login = Login(began_at=began, seconds=time.monotonic() - began)
        self._standby = Standby(self._standby_program, host=self.address.host)
        self._stand_by_later()
        return self._connection

    async def run(
        self,
        program: str,
        arguments: Sequence[str] = (),
        *,
        stdin: Path | bytes | None = None,
        upload_bytes: int | None = None,
        wanted: asyncio.Event | None = None,
        on_output: OnOutput | None = None,
        timeout_seconds: float,
        is_done: IsDone | None = None,
        is_ready: IsDone | None = None,
        is_urgent: bool = False,
        flow: Flow | None = None,
    ) -> CommandResult:
        output = Output(on_output=on_output, is_done=is_done, flow=flow)
        may_stay = is_ready is not None and program == self._standby_program
        async with self._turn(is_urgent=is_urgent):
            session: Session | None = None
            feeding: asyncio.Task[None] | None = None
            try:
                async with asyncio.timeout(timeout_seconds):
                    session, before = await self._start(program, arguments, output, is_last=not may_stay)
                    sending = feed(session, before, stdin, is_last=not may_stay, size=upload_bytes, wanted=wanted)
                    feeding = asyncio.create_task(sending)
                    result = await output.result()
                if may_stay and not before and output.has_exited and not (is_done and is_done()):
                    # It may have ended before it heard of the call, which says nothing of the node.
                    text = _("%(host)s: the program that waited there for a call has ended")
                    raise ConnectionLost(Told(text, {"host": self.address.host}))
                is_sent = feeding.done() or (wanted is not None and not wanted.is_set())
                if may_stay and is_sent and _may_wait(session, output):
                    self._standby.keep(session, is_ready=is_ready is not None and is_ready())
                    session = None
                return result
            except TimeoutError:
                if session is not None:
                    await _kill(session, output)
                text = _("not over after %(seconds)s s on %(host)s")
                facts = {"seconds": f"{timeout_seconds:g}", "host": self.address.host}
                raise RunTimeout(Told(text, facts)) from None
            finally:
                if feeding is not None:
                    feeding.cancel()
                if session is not None:
                    session.channel.abort()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if self._standby_timer is not None:
            self._standby_timer.cancel()
        if connection is not None:
            connection.abort()
            await connection.wait_closed()
        if self._owns_logins:
            await self._logins.hops.close()

    @asynccontextmanager
    async def _turn(self, *, is_urgent: bool) -> AsyncIterator[None]:
        self.running += 1
        try:
            async with nullcontext() if is_urgent else self._sessions:
                yield
        finally:
            self.running -= 1
            self.used_at = time.monotonic()
            if self.is_warm:
                self._logins.hops.saw(self.address)
            self._stand_by_later()

    def _stand_by_later(self) -> None:
        if self._standby_timer is not None:
            self._standby_timer.cancel()
        if self._standby_program:
            loop = asyncio.get_running_loop()
            self._standby_timer = loop.call_later(STAND_BY_AFTER_SECONDS, self._stand_by)

    def _stand_by(self) -> None:
        if not self.is_warm or self.running:
            return
        self._standby.drop(but=1)
        if self._standby.is_wanted:
            self._standing_by = asyncio.create_task(self._open_standby())

    async def _open_standby(self) -> None:
        """Only ever a help: what fails here is done by the call itself."""
        assert self._connection is not None
        with suppress(OSError, asyncssh.Error):
            async with asyncio.timeout(CHANNEL_SECONDS):
                await self._standby.open(self._connection)

    async def _start(
        self, program: str, arguments: Sequence[str], output: Output, *, is_last: bool
    ) -> tuple[Session, bytes]:
        """Start the program, and what it is to read first; b'' for one that stood by, which has read it.

        When a warm connection proves dead before anything was sent on it, on a new one.
        """
        was_warm = self._connection is not None
        while True:
            connection = await self.connected()
            session = Session(output, host=self.address.host)
            try:
                woken = await self._standby.wake(program, arguments, output, timeout_seconds=CHANNEL_SECONDS)
                if woken is not None:
                    return woken, b""
                await self._open(connection, session)
                return session, message(program, arguments if is_last else [STAY, *arguments])
            except (OSError, asyncssh.Error) as error:
                text = _("%(host)s: the connection broke: %(said)s")
                said = verbatim(shown(str(error))) if shown(str(error)) else Told(_("no answer"))
                broken = Told(text, {"host": self.address.host, "said": said})
                if session.is_open:
                    raise ConnectionLost(broken) from error
                if not was_warm:
                    raise NodeUnreachable(broken) from error
            was_warm = False
            self._connection = None
            connection.abort()

    async def _open(self, connection: asyncssh.SSHClientConnection, session: Session) -> None:
        """One channel with our command on it; while the node grants no further session, wait for another's end."""
        lonely_until = time.monotonic() + LONELY_SECONDS
        while True:
            try:
                async with asyncio.timeout(CHANNEL_SECONDS):
                    await connection.create_session(lambda: session, COMMAND_LINE, encoding=None)
                return
            except asyncssh.ChannelOpenError as error:
                if connection.is_closed():
                    raise
                if self._standby.drop():
                    continue
                if session.is_open:
                    text = _("%(host)s refuses to run a command: %(said)s")
                    facts = {"host": self.address.host, "said": shown(error.reason)}
                    raise NodeUnsuitable(Told(text, facts)) from error
                if self.running <= 1 and time.monotonic() > lonely_until:
                    text = _("%(host)s grants no session: %(said)s")
                    facts = {"host": self.address.host, "said": shown(error.reason)}
                    raise NodeUnreachable(Told(text, facts)) from error
            await asyncio.sleep(SESSION_RETRY_SECONDS)


def _may_wait(session: Session, output: Output) -> bool:
    """Its program may take another call, as far as is known here."""
    return not (output.is_over or output.is_held or session.has_input_ended)


async def _kill(session: Session, output: Output) -> None:
    """Have the program killed, and give the node a moment to say so: a channel closed at once would swallow it."""
    session.kill()
    with suppress(TimeoutError, TransportError, NodeMisbehaved):
        async with asyncio.timeout(KILL_SECONDS):
            await output.result()
