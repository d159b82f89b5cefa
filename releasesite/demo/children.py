"""The processes that the demo starts and must not leave behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
KILL_SECONDS = 5


@dataclass(kw_only=True)
class Child:
    """A process of the system: a session of its own, so that Ctrl-C reaches the demo alone; its output in a file.

    Start it from the main thread: the kernel sends the death signal when the thread that started it ends.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    process: psutil.Popen | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        with self.log.open("ab" if self.starts else "wb") as log:
            self.process = psutil.Popen(
                self.argv,
                env=dict(self.env),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=terminated_with(os.getpid()),
            )
        self.starts.append(time.monotonic())

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self.process.poll() if self.process else None

    def starts_within(self, seconds: float) -> int:
        return sum(at > time.monotonic() - seconds for at in self.starts)

    def end_of_log(self, lines: int = 12) -> str:
        return "\n".join(f"    {line}" for line in self.log.read_text(errors="replace").splitlines()[-lines:])


def terminated_with(parent: int) -> Callable[[], None] | None:
    """For Popen's preexec_fn: SIGTERM to the child when `parent` dies, `kill -9` included. Linux only."""
    if sys.platform != "linux":
        return None

    def ask_the_kernel() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask_the_kernel


def stop(children: Iterable[Child], *, deadline_seconds: float, hurry: Callable[[], bool]) -> list[str]:
    """SIGTERM to all, wait, then SIGKILL to what is left of them and of their descendants.

    hurry: asked repeatedly; True ends the wait. Returns the names of those that had to be killed.
    """
    running = [child for child in children if child.process and child.exit_status() is None]
    families = [process for child in running for process in family(child)]
    for child in running:
        if child.process:
            child.process.terminate()
    deadline = time.monotonic() + deadline_seconds
    while any(child.exit_status() is None for child in running) and time.monotonic() < deadline and not hurry():
        time.sleep(0.05)
    killed = [child.name for child in running if child.exit_status() is None]
    for process in filter(lives, families):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + KILL_SECONDS
    while any(map(lives, families)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return killed


def family(child: Child) -> list[psutil.Process]:
    try:
        return [child.process, *child.process.children(recursive=True)] if child.process else []
    except psutil.Error:
        return []


def lives(process: psutil.Process) -> bool:
    """Compares start times: never a stranger with a reused pid. An orphan's zombie is init's business."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
