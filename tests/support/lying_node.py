"""An SSH server that answers our node program's calls with whatever a test says, and one that is no SSH server at all.

`lying_node` is honest until told otherwise: `node.answers[TASK]` is what it says to that task, as bytes for stdout or one
of the things below, one after the other, without end if a test likes. `honest(call)` and `call.frames(…)` help to lie a little.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

START_SECONDS = 10
RESTARTS = ("step restart", "command 11 12 13", "end 0 0 5")
USER = "anyone"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of our program. arguments: those after MARK TASK ROOT FENCE. number: how many came before it."""

    mark: str
    task: str
    root: str
    fence: int
    arguments: tuple[str, ...]
    number: int

    def frames(self, *words: str) -> bytes:
        return b"".join(f"{self.mark} {each}\n".encode("utf-8", "surrogateescape") for each in words)


@dataclass(frozen=True)
class Err:
    """To stderr."""

    data: bytes


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Exit:
    """And nothing more; without it the status is 0."""

    status: int


@dataclass(frozen=True)
class Killed:
    """An exit by a signal, with a message."""

    signal: str
    message: str = ""


@dataclass(frozen=True)
class Disconnect:
    """The whole connection, with this reason."""

    reason: str


Said = bytes | Err | Pause | Exit | Killed | Disconnect
Answer = Callable[[Call], Iterable[Said]]


def honest(call: Call) -> list[Said]:
    """What the node program says of an empty deploy root where everything succeeds."""
    nothing = "current none - - -"
    match call.task:
        case "survey":
            words = ["begun", *[nothing] * (1 + len(call.arguments)), "over"]
        case "state":
            words = ["begun", nothing, "over"]
        case "stage":
            words = ["begun", nothing, "step stage", "outcome installed", "over"]
        case "before_switch":
            ran = call.frames("begun", "step before_switch", "command 11 12 13", "end 0 0 5", "ended 0 0", "over")
            return [ran, Err(call.frames("end 0 0 5"))]
        case "switch":
            ran = call.frames("begun", "step switch", f"linked - {call.arguments[0]}", *RESTARTS)
            return [ran, Err(call.frames("end 0 0 5")), call.frames("switched - 0 0 0 - 0", "over")]
        case _:
            words = ["begun", "over"]
    return [call.frames(*words)]


class LyingNode:
    """calls: all that came, in order. sent_bytes: what went out as answers, as far as the client took it.

    banner: shown so many times at each login. refuses_sessions: the reason, '' for none. standby: what a program says that
    is to stand by; None: it ends at once, and is not tried again. window: how much we may send before it says go on.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, *, host_key: asyncssh.SSHKey | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.standby: Callable[[], Iterable[Said]] | None = None
        self.calls: list[Call] = []
        self.sent_bytes = 0
        self.banner = ""
        self.banners = 1
        self.window = 2 * 1024 * 1024
        self.refuses_login = False
        self.refuses_sessions = ""
        self.port = 0
        self._host_key = host_key or asyncssh.generate_private_key("ssh-ed25519")
        self.private_key = folder / "user_key"
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(self.private_key))

    @property
    def node_fields(self) -> dict[str, str | int]:
        """For Node(name=…, **node.node_fields)."""
        return {
            "host": self.host,
            "transport": "ssh",
            "ssh_user": USER,
            "ssh_port": self.port,
            "ssh_host_key": self._host_key.export_public_key().decode().strip(),
        }

    def calls_of(self, task: str) -> list[Call]:
        return [call for call in self.calls if call.task == task]

    async def listen(self) -> asyncssh.SSHAcceptor:
        server = await asyncssh.create_server(
            lambda: _Server(self),
            self.host,
            0,
            server_host_keys=[self._host_key],
            encoding=None,
            allow_pty=False,
            window=self.window,
        )
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        server = await self.listen()
        started.set()
        await stop.wait()
        server.close()

    async def serve_call(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        with suppress(OSError, asyncssh.Error, asyncio.IncompleteReadError):
            call = await self._call(process)
            for said in self._sayings(call):
                if not await self._say(process, said):
                    return
            process.exit(0)

    def _sayings(self, call: Call | None) -> Iterable[Said]:
        if call is None:
            return self.standby() if self.standby else ()
        return self.answers.get(call.task, honest)(call)

    async def _call(self, process: asyncssh.SSHServerProcess[bytes]) -> Call | None:
        """None for a program that is to stand by."""
        header = (await process.stdin.readline()).decode()
        _name, length, line = header.split(" ", 2)
        await process.stdin.readexactly(int(length))
        words = [word.replace("$nl", "\n") for word in shlex.split(line)]
        if words == ["wait"]:
            return None
        # We say nothing of being ready for another.
        mark, task, root, fence, *others = words[1:] if words[0] == "stay" else words
        call = Call(mark=mark, task=task, root=root, fence=int(fence), arguments=tuple(others), number=len(self.calls))
        self.calls.append(call)
        return call

    async def _say(self, process: asyncssh.SSHServerProcess[bytes], said: Said) -> bool:
        """False: there is nothing more to say."""
        match said:
            case bytes():
                await self._write(process.stdout, said)
            case Err(data=data):
                await self._write(process.stderr, data)
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
            case Exit(status=status):
                process.exit(status)
                return False
            case Killed(signal=signal, message=message):
                process.exit_with_signal(signal, False, message)
                return False
            case Disconnect(reason=reason):
                # Its own `disconnect` closes every channel first, and then nobody hears the reason.
                process.channel.get_connection()._send_disconnect(asyncssh.DISC_PROTOCOL_ERROR, reason, "")
                await asyncio.sleep(1)
                return False
        return True

    async def _write(self, stream: Any, data: bytes) -> None:
        stream.write(data)
        await stream.drain()
        self.sent_bytes += len(data)


class _Server(asyncssh.SSHServer):
    def __init__(self, node: LyingNode) -> None:
        self._node = node

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        for _ in range(self._node.banners if self._node.banner else 0):
            self._connection.send_auth_banner(self._node.banner)
        return self._node.refuses_login

    def session_requested(self) -> asyncssh.SSHServerProcess[bytes]:
        if self._node.refuses_sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, self._node.refuses_sessions)
        return asyncssh.SSHServerProcess(self._node.serve_call, None, 3, False)


@contextmanager
def run_lying_node() -> Iterator[LyingNode]:
    """In a thread and an event loop of its own. For several at once; for one there is the fixture `lying_node`."""
    folder = Path(tempfile.mkdtemp(prefix="release-lying-node-"))
    node = LyingNode(folder)
    try:
        with _in_thread(node.serve):
            yield node
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lying_node() -> Iterator[LyingNode]:
    with run_lying_node() as node:
        yield node


@contextmanager
def speaks_first(data: bytes) -> Iterator[int]:
    """The port of a server that sends this to whoever comes, and says nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _address = listener.accept()
                    connections.append(connection)
                    connection.sendall(data)

        connections: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        connection.close()


def disconnect_at_once(reason: bytes) -> bytes:
    """For `speaks_first`: a greeting, and a DISCONNECT before any host key (RFC 4253, 6 and 11.1)."""
    payload = b"\x01" + (2).to_bytes(4) + len(reason).to_bytes(4) + reason + (0).to_bytes(4)
    padding = 8 - (5 + len(payload)) % 8 + 8
    packet = bytes([padding]) + payload + bytes(padding)
    return b"SSH-2.0-OpenSSH_9.2\r\n" + len(packet).to_bytes(4) + packet


@contextmanager
def _in_thread(serve: Callable[[threading.Event, asyncio.Event], Coroutine[Any, Any, None]]) -> Iterator[None]:
    started, loops = threading.Event(), []

    async def main() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await serve(started, stop)

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="lying-node", daemon=True)
    thread.start()
    assert started.wait(START_SECONDS), "the lying node does not start"
    try:
        yield
    finally:
        [(loop, stop)] = loops
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_SECONDS)
