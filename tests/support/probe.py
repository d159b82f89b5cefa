"""Queue tasks for tests: each leaves a file that says when it ran and where."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from django_q.tasks import async_task

from deploys.queue import worker_name
from deploys.worker import leases
from deploys.worker.heartbeat import Heartbeat


@dataclass(frozen=True, kw_only=True)
class Execution:
    """at: time.time() at the start of the task."""

    pid: int
    at: float


def send_probe(queue: str, path: Path) -> None:
    async_task("tests.support.probe.note", str(path), cluster=queue)


def send_sleep(queue: str, path: Path, *, seconds: float, leased: bool = False) -> None:
    """A task that ignores that it is to stop. leased: under a lease, as a drive is."""
    task = "leased_sleep" if leased else "note_and_sleep"
    async_task(f"tests.support.probe.{task}", str(path), seconds, cluster=queue)


def await_execution(path: Path, *, within_seconds: float) -> Execution:
    deadline = time.monotonic() + within_seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"nothing executed within {within_seconds} s"
        time.sleep(0.01)
    pid, at = path.read_text().split()
    return Execution(pid=int(pid), at=float(at))


def note(path: str) -> None:
    at = time.time()
    unfinished = Path(f"{path}.{os.getpid()}")
    unfinished.write_text(f"{os.getpid()} {at!r}")
    unfinished.rename(path)


def note_and_sleep(path: str, seconds: float) -> None:
    note(path)
    time.sleep(seconds)


def leased_sleep(path: str, seconds: float) -> None:
    lease = leases.create_lease(worker_name.this_worker(), os.environ["Q_CLUSTER_NAME"])
    heartbeat = Heartbeat(lease.pk)
    heartbeat.start()
    note_and_sleep(path, seconds)
    heartbeat.stop()
    lease.delete()
