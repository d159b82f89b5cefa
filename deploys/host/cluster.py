"""One cluster as its supervisor sees it: a process group to start, watch, stop and kill."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from django.conf import settings

from deploys.host.cluster_main import SUPERVISOR_PID
from deploys.host.probe import QueueProbe
from deploys.queue import draining, pausing

logger = logging.getLogger(__name__)

HEALTHY_SECONDS = 60.0  # One that lived this long is started again at once.
LONGEST_PAUSE_SECONDS = 10.0


class Cluster:
    """Used from the supervisor's main thread alone: the kernel ties the children to the thread that started them."""

    def __init__(
        self, *, queue: str, worker_name: str, shutdown_pipe_fd: int, pause_pipe_fd: int | None = None
    ) -> None:
        self.queue = queue
        self.watch = QueueProbe(queue=queue, worker_name=worker_name)
        self._worker_name = worker_name
        self._shutdown_pipe_fd = shutdown_pipe_fd
        self._pause_pipe_fd = pause_pipe_fd
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._failures = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and not self._has_exited(self._process)

    def tend(self) -> None:
        """Starts it, or starts it again, when that is due."""
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self._start()
            return
        if self._has_exited(self._process):
            self.kill()
            self._plan_restart("ended by itself")
        elif self.watch.is_hung:
            self.kill()
            self._plan_restart(f"hung, nothing executed for {self.watch.silent_seconds:.0f} s: killed")

    def ask_to_stop(self) -> None:
        """SIGTERM to the main process alone: one to the whole group hangs django-q2."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGTERM)  # and not `terminate`, which reaps one that has exited

    def kill(self) -> None:
        """SIGKILL to every process of the group. The main one is reaped last, so that its number is still ours."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        _reap_adopted(process.pid)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "worker", "--cluster", self.queue],
            stdin=subprocess.DEVNULL,
            env=self._environment(),
            pass_fds=tuple(fd for fd in (self._shutdown_pipe_fd, self._pause_pipe_fd) if fd is not None),
            process_group=0,
        )
        self._started_at = time.monotonic()
        self.watch = QueueProbe(queue=self.queue, worker_name=self._worker_name)
        logger.info("cluster %s: started, pid %d", self.queue, self._process.pid)

    def _environment(self) -> dict[str, str]:
        pause = {} if self._pause_pipe_fd is None else {pausing.VARIABLE: str(self._pause_pipe_fd)}
        return (
            os.environ
            | pause
            | {
                "Q_CLUSTER_NAME": self.queue,
                "RELEASE_WORKER_NAME": self._worker_name,
                SUPERVISOR_PID: str(os.getpid()),
                draining.VARIABLE: str(self._shutdown_pipe_fd),
            }
        )

    def _plan_restart(self, why: str) -> None:
        now = time.monotonic()
        self._failures = 0 if now - self._started_at > HEALTHY_SECONDS else self._failures + 1
        pause = min(2.0 ** (self._failures - 2), LONGEST_PAUSE_SECONDS) if self._failures > 1 else 0.0
        self._start_at = now + pause
        logger.error("cluster %s: %s; starting it again in %.1f s", self.queue, why, pause)

    @staticmethod
    def _has_exited(process: subprocess.Popen[bytes]) -> bool:
        """Leaves it unreaped: until `kill` nobody else can get its process group's number."""
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _reap_adopted(group: int) -> None:
    """As a container's process 1 we inherit the group's dead."""
    try:
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
