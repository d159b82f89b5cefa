"""However a supervisor ends, it ends in time and leaves no process behind."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from deploys.models import Worker
from deploys.queueing import DEPLOYS
from tests.support.probe import await_execution, send_sleep
from tests.support.worker import running_worker, wait_for

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

        send_sleep(DEPLOYS, tmp_path / "task", seconds=0)
        await_execution(tmp_path / "task", within_seconds=5)
        wait_for(lambda: first.family() == set(), what="end of all", within_seconds=2, log=None)
        assert len(second.family()) > 10
