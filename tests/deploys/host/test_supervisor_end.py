"""However a supervisor ends, it ends in time and leaves no process behind."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from deploys.host import supervisor
from deploys.host.cluster import Cluster
from deploys.models import Worker
from deploys.queue.names import DEPLOYS
from tests.support.database import process_environment
from tests.support.probe import await_execution, send_sleep
from tests.support.worker import is_alive, running_worker, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(number: signal.Signals) -> None:
    with running_worker() as host:
        host.process.send_signal(number)
        started = time.monotonic()

        assert host.process.wait(timeout=40) == 0
        assert time.monotonic() - started < 10
        assert host.family() == set()
        assert not Worker.objects.filter(name=host.name).exists()
        assert "Traceback" not in host.log.read_text()


def test_it_stops_within_30_seconds_though_a_task_does_not_end(tmp_path: Path) -> None:
    with running_worker() as host:
        send_sleep(DEPLOYS, tmp_path / "task", seconds=300)
        await_execution(tmp_path / "task", within_seconds=10)
        started = time.monotonic()

        assert host.stop() == 0
        assert time.monotonic() - started < 30
        assert host.family() == set()


def test_a_stop_lets_a_running_task_end(tmp_path: Path) -> None:
    with running_worker() as host:
        send_sleep(DEPLOYS, tmp_path / "task", seconds=4)
        send_sleep(DEPLOYS, tmp_path / "next", seconds=0)
        await_execution(tmp_path / "task", within_seconds=10)
        started = time.monotonic()

        assert host.stop() == 0
        assert time.monotonic() - started > 3
        assert (tmp_path / "next").exists()


SUPERVISOR_WITH_LITTLE_TIME = """
import django
django.setup()
from deploys.host import supervisor
supervisor.END_SECONDS = 3
supervisor.Supervisor().run()
"""


def test_it_stops_in_time_though_its_log_takes_no_more() -> None:
    assert supervisor.DRAIN_SECONDS + supervisor.LEAVE_SECONDS < supervisor.END_SECONDS < 30
    with supervisor_logging_to_a_pipe() as (process, pipe):
        family = process.children(recursive=True)
        fill(pipe)
        process.terminate()

        assert process.wait(timeout=10) == 1
        wait_for(lambda: not any(is_alive(each) for each in family), what="end of all", within_seconds=3, log=None)


def test_a_cluster_that_ended_just_before_the_stop_does_not_upset_it() -> None:
    cluster = Cluster(queue=DEPLOYS, worker_name="web-1", shutdown_pipe_fd=0)
    cluster._process = subprocess.Popen(["true"], process_group=0)
    wait_for(lambda: not cluster.is_running, what="end of its main process", within_seconds=5, log=None)

    cluster.ask_to_stop()

    assert not cluster.is_running
    cluster.kill()


@contextmanager
def supervisor_logging_to_a_pipe() -> Iterator[tuple[psutil.Popen, int]]:
    """With both clusters started; the pipe is its writing end."""
    read_end, write_end = os.pipe()
    process = psutil.Popen(
        [sys.executable, "-c", SUPERVISOR_WITH_LITTLE_TIME],
        cwd=settings.BASE_DIR,
        env=process_environment(),
        stdin=subprocess.DEVNULL,
        stderr=write_end,
    )
    try:
        said = b""
        while said.count(b": started, pid ") < 2:
            said += os.read(read_end, 65536)
        yield process, write_end
    finally:
        with suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait()
        os.close(read_end)
        os.close(write_end)


def fill(pipe: int) -> None:
    """By an end of our own that does not wait."""
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    ours = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(ours, b"x")
    except BlockingIOError:
        os.close(ours)


def test_killing_it_takes_every_process_along_at_once(tmp_path: Path) -> None:
    with running_worker() as host:
        send_sleep(DEPLOYS, tmp_path / "task", seconds=300)
        await_execution(tmp_path / "task", within_seconds=10)

        host.kill()

        wait_for(lambda: host.family() == set(), what="end of all", within_seconds=2, log=None)


def test_killing_it_while_its_clusters_start_takes_them_along() -> None:
    with running_worker(wait=False) as host:
        wait_for(lambda: len(host.family()) > 1, what="cluster process", log=host.log)

        host.kill()

        wait_for(lambda: host.family() == set(), what="end of all", within_seconds=3, log=None)


def test_two_on_one_host_do_not_mind_each_other(tmp_path: Path) -> None:
    with running_worker() as first, running_worker() as second:
        assert Worker.objects.count() == 2

        first.kill()

        # A message that one of its dying processes has taken would come again only after the queue's retry.
        wait_for(lambda: first.family() == set(), what="end of all", within_seconds=2, log=None)
        send_sleep(DEPLOYS, tmp_path / "task", seconds=0)
        await_execution(tmp_path / "task", within_seconds=5)
        assert len(second.family()) > 10
