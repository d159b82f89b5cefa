"""What every transport does: run one program on a node, close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from inventory.nodes.transports.flow import Flow
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.pace import Pace
from inventory.security.redaction import clean_output, clean_text, scrub
from inventory.told import Told, verbatim
from inventory.told import marked as _

if TYPE_CHECKING:
    from inventory.models import Node

STDOUT = "stdout"
STDERR = "stderr"

# A daemon that a command left behind may hold its streams open for ever. Once the command has exited, its output
# counts as whole when nothing has come for this long.
QUIET_SECONDS = 0.25

# Of one call, on both streams together. An honest command is muted after 1 MiB a stream, and what is on its way then is
# 2 MiB more at most (asyncssh's window); a switch runs two commands.
MOST_BYTES = 32 * 1024 * 1024
# Of what no `on_output` takes.
MOST_KEPT_BYTES = 1024 * 1024
LONGEST_MESSAGE = 1000
LONGEST_QUOTE = 200
LIAR_ADVICE = _(
    "Something else answers there in our program's place, or its files under .release are damaged: see on the node what "
    "runs at a login, and that the host is the right one; then retry."
)

OnOutput = Callable[[str, bytes], None]
IsDone = Callable[[], bool]


class TransportError(Exception):
    """The node could not be reached or spoken to. code: the stable word of CONTRACT.md; told: for a person, a clause.

    What servers say goes into messages: so they are made safe here, and cut.
    """

    code = "node_unreachable"

    def __init__(self, told: Told | str) -> None:
        """A text is told as it is."""
        self.told = _safe(verbatim(told) if isinstance(told, str) else told)
        self.message = shown(str(self.told), LONGEST_MESSAGE)
        super().__init__(self.message)


class NodeUnreachable(TransportError):
    """Connecting or logging in failed: nothing was sent, nothing has run."""


class HostKeyMismatch(TransportError):
    """The node showed another host key than the inventory's: nothing was sent."""

    code = "node_host_key_mismatch"


class JumpUnreachable(NodeUnreachable):
    """A jump host on the way can't be reached, or lets us not through; the message names it."""

    code = "jump_unreachable"


class JumpHostKeyMismatch(HostKeyMismatch):
    """As HostKeyMismatch, of a jump host on the way; the message names it."""

    code = "jump_host_key_mismatch"


class NodeUnsuitable(TransportError):
    """The node can't be worked on as it is, or not from here: nothing of ours has run there."""

    code = "node_unsuitable"


class ConnectionLost(TransportError):
    """Cut after the command was sent: what came of it is unknown."""


class RunTimeout(TransportError):
    """Not over within `timeout_seconds`: its process group was sent SIGKILL as far as the node could still be told."""


class NodeMisbehaved(Exception):
    """The node answered what our program never says: nothing of it is believed, and it is not asked again.

    told: for a person, to go behind the node's name; rule: what is wrong with it; said: the answer, or the part of it.
    """

    def __init__(self, rule: str, *, said: str | bytes = b"") -> None:
        text, facts = _("answered what our program never says (%(rule)s)"), {"rule": rule}
        if quote := quoted(said):
            text, facts = _("answered what our program never says (%(rule)s): %(said)s"), {"rule": rule, "said": quote}
        self.told = Told(text, facts)
        self.message = str(self.told)
        super().__init__(self.message)


def _safe(told: Told) -> Told:
    def safe(fact: str | int | Told) -> str | int | Told:
        match fact:
            case Told():
                return _safe(fact)
            case str():
                return shown(fact, LONGEST_MESSAGE)
            case _other:
                return fact

    return Told(told.text, {name: safe(fact) for name, fact in told.facts.items()})


def shown(text: str, longest: int = LONGEST_QUOTE) -> str:
    """What a server or a node says, as text that is safe to keep and to show: clean, without secrets, and cut."""
    # Looked through for secrets before it is cut, but no more of it than can matter.
    clean = scrub(clean_text(text[: 20 * longest]), cut_after=len(text) > 20 * longest)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def quoted(said: str | bytes) -> str:
    """`shown` between quotation marks; '' for what is nothing then."""
    text = clean_output(said[: 20 * LONGEST_QUOTE]) if isinstance(said, bytes) else said
    return f"“{quote}”" if (quote := shown(text)) else ""


@dataclass(frozen=True, kw_only=True)
class NodeAddress:
    """All that a transport knows of a node. ssh_host_key is one line, `[@cert-authority ]ssh-ed25519 AAAA…`.

    jump_socket: where a node that dials out is reached on its jump host. seen_at: when it was last, as far as is known.
    """

    name: str
    host: str
    transport: str
    ssh_user: str
    ssh_port: int
    ssh_host_key: str
    jump: JumpAddress | None = None
    jump_socket: str = ""
    seen_at: datetime | None = field(default=None, compare=False)

    @classmethod
    def of(cls, node: Node) -> NodeAddress:
        return cls(
            name=node.name,
            host=node.host,
            transport=node.transport,
            ssh_user=node.ssh_user,
            ssh_port=node.ssh_port,
            ssh_host_key=node.ssh_host_key,
            jump=None if node.jump is None else JumpAddress.of(node.jump),
            jump_socket=node.jump_socket,
            seen_at=node.seen_at,
        )


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """exit_status is None when a signal ended the program, or nobody waited for its end.

    stdout and stderr hold what no `on_output` took.
    """

    exit_status: int | None
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Login:
    """How a connection was made. began_at: by time.monotonic(). seconds: with all that it waited for."""

    began_at: float
    seconds: float


class Transport(Protocol):
    """login: of the connection in use, None where there is none."""

    login: Login | None

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
        """Run `program`, a text for `sh`, on the node to its exit; any exit status is a result, not an error.

        Neither its text nor its arguments stand in a process's arguments (see `bootstrap`). It may use $nl, a newline.
        stdin: a file's content, bytes, or nothing. upload_bytes: of a file, what the program was told; without it, its end
        tells. wanted: set once the program is about to read it, which need not be waited for. on_output(stream, data) gets
        each chunk as it comes. After the
        exit it waits for both streams' ends, but no longer than QUIET_SECONDS of silence. Once `is_done()` is true
        after some output it returns at once, exit or not. Cancelling leaves the program running; so does being done.
        is_ready: given for a program that takes several calls, one after the other (see `ssh_standby`): whether it has said by
        now that it waits for the next.
        is_urgent: don't queue behind the node's other programs. flow: held, nothing is read; the deadline counts on.
        Raises NodeUnreachable, HostKeyMismatch, NodeUnsuitable, ConnectionLost, RunTimeout; NodeMisbehaved for more than
        MOST_BYTES, or MOST_KEPT_BYTES that no on_output takes; and what on_output raises. Nothing is read after that.
        """

    async def close(self) -> None:
        """Let go of the connection; programs that still run are left alone."""


class Output:
    """Takes what a program prints, and knows when there is no more to wait for."""

    def __init__(self, *, on_output: OnOutput | None, is_done: IsDone | None, flow: Flow | None = None) -> None:
        self._flow = flow or Flow()
        self._pace = Pace(self._flow)
        self._on_output = on_output
        self._is_done = is_done
        self._kept: dict[str, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        self._room = MOST_KEPT_BYTES if on_output is None else MOST_BYTES
        self._open = {STDOUT, STDERR}
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self.has_exited = False
        self.exit_status: int | None = None

    @property
    def is_over(self) -> bool:
        """The program has ended, or can't be heard any more."""
        return self.has_exited or self._error is not None or not self._open

    @property
    def is_held(self) -> bool:
        """Nothing is read for now: see `Flow`."""
        return self._flow.is_held

    @property
    def is_refused(self) -> bool:
        """Nothing more will be taken: whoever feeds it stops reading, and closes what it reads from."""
        return self._error is not None

    def feed(self, stream: str, data: bytes) -> None:
        if self._error is None:
            try:
                with self._pace.taking(len(data)):
                    self._take(stream, data)
            except Exception as error:
                self._error = error
        self._changed.set()

    def _take(self, stream: str, data: bytes) -> None:
        if self._flow.is_counted:
            self._room -= len(data)
        if self._room < 0:
            limit = MOST_KEPT_BYTES if self._on_output is None else MOST_BYTES
            raise NodeMisbehaved(f"more than {limit // 1024 // 1024} MiB in one answer", said=data)
        if self._on_output is None:
            self._kept[stream] += data
        else:
            self._on_output(stream, data)

    def end(self, *streams: str) -> None:
        self._open.difference_update(streams)
        self._changed.set()

    def read_from(self, *, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Where it comes from is read on only while nobody holds the call's flow."""

        def go_on() -> None:
            resume()
            self._changed.set()

        self._flow.drive(pause=pause, resume=go_on)

    def exited(self, status: int | None) -> None:
        self.has_exited = True
        self.exit_status = status
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """The program can tell no more. After its exit that is no failure."""
        self._error = self._error or (None if self.has_exited else error)
        self.end(STDOUT, STDERR)

    async def result(self) -> CommandResult:
        """Wait for the end as `Transport.run` words it; raises what `fail` was given, or what on_output raised."""
        while self._error is None and not self._is_over():
            try:
                async with asyncio.timeout(QUIET_SECONDS if self.has_exited and not self._flow.is_held else None):
                    await self._change()
            except TimeoutError:
                break
        if self._error is not None:
            raise self._error
        return CommandResult(
            exit_status=self.exit_status, stdout=bytes(self._kept[STDOUT]), stderr=bytes(self._kept[STDERR])
        )

    def _is_over(self) -> bool:
        if self._is_done is not None and self._is_done():
            return True
        return self.has_exited and not self._open

    async def _change(self) -> None:
        await self._changed.wait()
        self._changed.clear()
