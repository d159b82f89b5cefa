"""What the soak does to processes, connections and servers."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
from django.db import connection

from tests.faults.soak import Report
from tests.faults.soak_world import World
from tests.support.worker import is_alive

MEAN_PAUSE_SECONDS = 2.5
LONGEST_PAUSE_OF_A_PROCESS_SECONDS = 14.0

CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Faults:
    """`maybe` injects one now and then, and ends those that have lasted long enough; `end` ends them all."""

    def __init__(self, world: World, report: Report, chance: random.Random) -> None:
        self._world = world
        self._report = report
        self._chance = chance
        self._next_at = time.monotonic() + 1
        self._undo: list[tuple[float, Callable[[], None]]] = []
        self._kinds: dict[str, Callable[[], None]] = {
            "a cluster's process killed": self._kill_process,
            "all of a cluster's workers killed": self._kill_workers,
            "a process paused": self._pause_process,
            "a host killed": self._kill_host,
            "a host stopped by SIGTERM": self._stop_host,
            "database connections cut": self._cut_database,
            "SSH cut": self._world.proxy.cut,
            "SSH cut in mid-upload": self._cut_upload,
            "SSH stalled": self._stall,
            "sshd's sessions killed": self._world.sshd.drop_connections,
            "sshd and all below it killed": self._restart_sshd,
        }

    def maybe(self) -> None:
        now = time.monotonic()
        for due in [each for each in self._undo if each[0] <= now]:
            self._undo.remove(due)
            due[1]()
        if now < self._next_at:
            return
        self._next_at = now + self._chance.expovariate(1 / MEAN_PAUSE_SECONDS)
        name = self._chance.choice(list(self._kinds))
        self._kinds[name]()
        self._report.faults[name] += 1

    def end(self) -> None:
        for _, undo in self._undo:
            undo()
        self._undo.clear()

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        self._undo.append((time.monotonic() + seconds, undo))

    def _processes(self) -> list[psutil.Process]:
        """Of one host's clusters; not what they run on the nodes, which has a life of its own."""
        host = self._chance.choice(self._world.hosts)
        return sorted((each for each in host.family() if _is_of_a_cluster(each)), key=lambda each: each.pid)

    def _kill_process(self) -> None:
        processes = self._processes()
        if processes:
            _signal(self._chance.choice(processes), signal.SIGKILL)

    def _kill_workers(self) -> None:
        for process in self._processes():
            _signal(process, signal.SIGKILL)

    def _pause_process(self) -> None:
        processes = self._processes()
        if not processes:
            return
        process = self._chance.choice(processes)
        _signal(process, signal.SIGSTOP)
        seconds = self._chance.uniform(0.5, LONGEST_PAUSE_OF_A_PROCESS_SECONDS)
        self._later(seconds, lambda: _signal(process, signal.SIGCONT))

    def _kill_host(self) -> None:
        number = self._chance.randrange(len(self._world.hosts))
        self._world.hosts[number].kill()
        self._world.replace_host(number)

    def _stop_host(self) -> None:
        number = self._chance.randrange(len(self._world.hosts))
        began = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._world.hosts[number].stop()
        if time.monotonic() - began > 30:
            self._report.violations.append(f"a host took {time.monotonic() - began:.1f} s to stop")
        if self._world.hosts[number].family():
            self._report.violations.append("a host left processes behind")
        self._world.replace_host(number)

    def _cut_database(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(CUT)

    def _cut_upload(self) -> None:
        self._world.proxy.cut_after(self._chance.randint(100, 40_000))
        self._later(2, lambda: self._world.proxy.cut_after(None))

    def _stall(self) -> None:
        self._world.proxy.stall()
        self._later(self._chance.uniform(0.5, 12), self._world.proxy.flow)

    def _restart_sshd(self) -> None:
        self._world.sshd.stop()
        time.sleep(self._chance.uniform(0, 1))
        self._world.sshd.start()


def _is_of_a_cluster(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return is_alive(process) and "--cluster" in process.cmdline()
    return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)
