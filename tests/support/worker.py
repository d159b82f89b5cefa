"""A worker host as it runs in production: `manage.py worker`, a process with its clusters below it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
import psycopg
from django.conf import settings

from deploys.queue.names import QUEUES
from tests.support.database import process_environment

READY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class ClusterProcesses:
    main: psutil.Process
    sentinel: psutil.Process
    workers: tuple[psutil.Process, ...]
    monitor: psutil.Process
    pusher: psutil.Process

    @property
    def auxiliary(self) -> dict[str, psutil.Process]:
        return {"main": self.main, "sentinel": self.sentinel, "monitor": self.monitor, "pusher": self.pusher}

    @property
    def all(self) -> tuple[psutil.Process, ...]:
        return (self.main, self.sentinel, *self.workers, self.monitor, self.pusher)


@dataclass(kw_only=True)
class WorkerHost:
    process: subprocess.Popen[bytes]
    log: Path
    database: str
    _seen: set[psutil.Process] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"{os.uname().nodename}:{self.process.pid}"

    def family(self) -> set[psutil.Process]:
        """All processes below it ever seen that still live."""
        try:
            top = psutil.Process(self.process.pid)
            self._seen.update((top, *top.children(recursive=True)))
        except psutil.NoSuchProcess:
            pass
        return {process for process in self._seen if is_alive(process)}

    def cluster(self, queue: str) -> ClusterProcesses:
        """As django-q2 forks them, in this order; to be asked before any of them was replaced."""
        for main in psutil.Process(self.process.pid).children():
            if main.cmdline()[-2:] != ["--cluster", queue]:
                continue
            (sentinel,) = main.children()
            *workers, monitor, pusher = sorted(sentinel.children(), key=lambda process: process.pid)
            return ClusterProcesses(
                main=main, sentinel=sentinel, workers=tuple(workers), monitor=monitor, pusher=pusher
            )
        raise LookupError(f"no cluster {queue}:\n{self.log.read_text()}")

    def wait_until_ready(self) -> None:
        """Until each cluster has executed a canary, so that all its processes are there and idle."""
        wait_for(lambda: all(self._is_complete(queue) for queue in QUEUES), what="both clusters", log=self.log)
        wait_for(self._has_settled, what="a canary of each queue", log=self.log)
        self.family()

    def stop(self) -> int:
        """SIGTERM, as a service manager does it. Returns the exit status."""
        self.family()
        self.process.terminate()
        return self.process.wait(timeout=40)

    def kill(self) -> None:
        """SIGKILL to it alone."""
        self.family()
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        self.kill()
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _is_complete(self, queue: str) -> bool:
        try:
            return len(self.cluster(queue).all) == settings.WORKERS + 4
        except (LookupError, ValueError, psutil.NoSuchProcess):
            return False

    def canary_at(self) -> datetime | None:
        """When one of its clusters last executed a task."""
        with psycopg.connect(self.database) as connection:
            row = connection.execute("SELECT canary_at FROM deploys_worker WHERE name = %s", [self.name]).fetchone()
        return row[0] if row else None

    def _has_settled(self) -> bool:
        with psycopg.connect(self.database) as connection:
            inboxes = [f"{queue}@{self.name}" for queue in QUEUES]
            query = "SELECT count(*) FROM django_q_ormq WHERE key = ANY (%s)"
            (waiting,) = connection.execute(query, [inboxes]).fetchone() or (0,)
        return waiting == 0 and self.canary_at() is not None


@contextmanager
def running_worker(
    variables: Mapping[str, str] | None = None,
    *,
    wait: bool = True,
    within: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> Iterator[WorkerHost]:
    """One worker host over the test's database, gone with all its processes afterwards.

    within: a command that executes the one after it in a place of its own, such as `ip netns exec NAME`.
    """
    environment = process_environment(**(variables or {}))
    with tempfile.NamedTemporaryFile(prefix="worker-", suffix=".log") as log:
        process = subprocess.Popen(
            [*within, sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "worker", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        worker = WorkerHost(process=process, log=Path(log.name), database=environment["DATABASE_URL"])
        try:
            if wait:
                worker.wait_until_ready()
            yield worker
        except BaseException:
            print(worker.log.read_text())  # pytest shows it below the failure.
            raise
        finally:
            worker.kill_all()


def wait_for(is_so: Callable[[], bool], *, what: str, within_seconds: float = READY_SECONDS, log: Path | None) -> None:
    deadline = time.monotonic() + within_seconds
    while not is_so():
        assert time.monotonic() < deadline, f"no {what} within {within_seconds} s:\n{log.read_text() if log else ''}"
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    """A zombie is dead: whoever should reap it is not our concern."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
