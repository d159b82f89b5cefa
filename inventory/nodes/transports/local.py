"""Programs on this very machine, each in a session of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from inventory.nodes.transports.base import (
    STDERR,
    STDOUT,
    CommandResult,
    IsDone,
    NodeUnreachable,
    OnOutput,
    Output,
    RunTimeout,
)

# All that a program on this machine gets of our environment: it must see no secret of ours, as on any other node.
KEPT_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "USER", "LOGNAME", "SHELL", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip
_CHUNK_BYTES = 64 * 1024


class LocalTransport:
    """Runs programs as children of this process. They outlive it: nothing but a timeout ever kills them."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Path | bytes | None = None,
        on_output: OnOutput | None = None,
        timeout_seconds: float,
        is_done: IsDone | None = None,
        is_urgent: bool = False,
    ) -> CommandResult:
        output = Output(on_output=on_output, is_done=is_done)
        try:
            program = _Program(argv, stdin=stdin, output=output)
        except OSError as error:
            raise NodeUnreachable(f"{argv[0]} can't be started on this machine: {error}") from error
        try:
            async with asyncio.timeout(timeout_seconds):
                return await output.result()
        except TimeoutError:
            program.kill_group()
            raise RunTimeout(f"not over after {timeout_seconds:g} s on this machine") from None
        finally:
            program.let_go()

    async def close(self) -> None:
        return


class _Program:
    """A child whose streams and exit are fed to `output` by the event loop.

    Not asyncio's own subprocess: that one kills the child when its transport is closed or collected.
    """

    def __init__(self, argv: Sequence[str], *, stdin: Path | bytes | None, output: Output) -> None:
        self._loop = asyncio.get_running_loop()
        self._output = output
        self._readers: dict[int, str] = {}
        source = _stdin_descriptor(stdin)
        outs, errs = os.pipe(), os.pipe()
        try:
            self._process = subprocess.Popen(
                argv, stdin=source, stdout=outs[1], stderr=errs[1], env=_environment(), start_new_session=True
            )
        except BaseException:
            os.close(outs[0])
            os.close(errs[0])
            raise
        finally:
            for descriptor in (source, outs[1], errs[1]):
                os.close(descriptor)
        self._read(outs[0], STDOUT)
        self._read(errs[0], STDERR)
        self._exit = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._exit, self._on_exit)

    def kill_group(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """Stop reading. A child that still runs goes on; the loop collects it when it exits."""
        for descriptor in list(self._readers):
            self._close(descriptor)

    def _read(self, descriptor: int, stream: str) -> None:
        os.set_blocking(descriptor, False)
        self._readers[descriptor] = stream
        self._loop.add_reader(descriptor, self._on_readable, descriptor)

    def _on_readable(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if data:
            self._output.feed(self._readers[descriptor], data)
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


def _stdin_descriptor(stdin: Path | bytes | None) -> int:
    if isinstance(stdin, bytes):
        descriptor = os.memfd_create("stdin")
        os.write(descriptor, stdin)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    return os.open(stdin or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
