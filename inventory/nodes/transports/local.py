"""Programs on this very machine, each in a session of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from inventory.nodes.transports import bootstrap
from inventory.nodes.transports.base import (
    STDERR,
    STDOUT,
    CommandResult,
    IsDone,
    Login,
    NodeUnreachable,
    OnOutput,
    Output,
    RunTimeout,
)
from inventory.nodes.transports.bootstrap import message
from inventory.nodes.transports.flow import Flow
from inventory.nodes.transports.local_stdin import Feeder
from inventory.told import Told
from inventory.told import marked as _

# All that a program on this machine gets of our environment: it must see no secret of ours, as on any other node.
KEPT_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "USER", "LOGNAME", "SHELL", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip
_CHUNK_BYTES = 64 * 1024


class LocalTransport:
    """Runs programs as children of this process. They outlive it: nothing but a timeout ever kills them."""

    login: Login | None = None

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
        try:
            running = _Program(message(program, arguments), stdin=stdin, output=output)
        except OSError as error:
            text = _("sh can't be started on this machine: %(said)s")
            raise NodeUnreachable(Told(text, {"said": str(error)})) from error
        try:
            async with asyncio.timeout(timeout_seconds):
                return await output.result()
        except TimeoutError:
            running.kill_group()
            text = _("not over after %(seconds)s s on this machine")
            raise RunTimeout(Told(text, {"seconds": f"{timeout_seconds:g}"})) from None
        finally:
            running.let_go()

    async def close(self) -> None:
        return


class _Program:
    """A child whose streams and exit are fed to `output` by the event loop.

    Not asyncio's own subprocess: that one kills the child when its transport is closed or collected.
    """

    def __init__(self, before: bytes, *, stdin: Path | bytes | None, output: Output) -> None:
        """before: what goes to its stdin ahead of `stdin`."""
        self._loop = asyncio.get_running_loop()
        self._output = output
        self._readers: dict[int, str] = {}
        self._stdin = Feeder(before, stdin)
        outs, errs = os.pipe(), os.pipe()
        try:
            self._process = subprocess.Popen(
                bootstrap.ARGV,
                stdin=self._stdin.end_to_read,
                stdout=outs[1],
                stderr=errs[1],
                env=_environment(),
                start_new_session=True,
            )
        except BaseException:
            os.close(outs[0])
            os.close(errs[0])
            self._stdin.close()
            raise
        finally:
            for descriptor in (self._stdin.end_to_read, outs[1], errs[1]):
                os.close(descriptor)
        self._stdin.start()
        self._read(outs[0], STDOUT)
        self._read(errs[0], STDERR)
        output.read_from(pause=self._pause, resume=self._resume)
        self._exit = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._exit, self._on_exit)

    def kill_group(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """Stop reading and writing. A child that still runs goes on; the loop collects it when it exits."""
        self._stdin.close()
        for descriptor in list(self._readers):
            self._close(descriptor)

    def _read(self, descriptor: int, stream: str) -> None:
        os.set_blocking(descriptor, False)
        self._readers[descriptor] = stream
        self._loop.add_reader(descriptor, self._on_readable, descriptor)

    def _pause(self) -> None:
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)

    def _resume(self) -> None:
        for descriptor in self._readers:
            self._loop.add_reader(descriptor, self._on_readable, descriptor)

    def _on_readable(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if data:
            self._output.feed(self._readers[descriptor], data)
        if data and not self._output.is_refused:
            return
        self._output.end(self._readers[descriptor])
        self._close(descriptor)

    def _on_exit(self) -> None:
        status = self._process.wait()
        self._loop.remove_reader(self._exit)
        os.close(self._exit)
        self._output.exited(status if status >= 0 else None)

    def _close(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        del self._readers[descriptor]
        os.close(descriptor)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
