"""Whatever dies below a supervisor, work goes on within 60 s, and nobody has to come and look."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from deploys.queue.names import DEPLOYS, ROLLBACKS
from tests.support.probe import await_execution, send_probe
from tests.support.worker import is_alive, running_worker, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

PROMISED_SECONDS = 60


def test_idle_workers_killed_one_after_the_other(tmp_path: Path) -> None:
    with running_worker() as host:
        for number, worker in enumerate(host.cluster(DEPLOYS).workers):
            if is_alive(worker):  # It may have gone down with its cluster, when the one before it held the lock.
                kill(worker)
            send_probe(DEPLOYS, tmp_path / str(number))
            await_execution(tmp_path / str(number), within_seconds=PROMISED_SECONDS)


def test_an_idle_worker_killed_with_the_queues_read_lock_in_its_hands(tmp_path: Path) -> None:
    """One of them holds it; without it the cluster hangs, and all its processes look alive."""
    with running_worker() as host:
        before = host.cluster(DEPLOYS)
        for worker in before.workers:
            worker.kill()
        send_probe(DEPLOYS, tmp_path / "probe")

        await_execution(tmp_path / "probe", within_seconds=PROMISED_SECONDS)
        assert_gone(before.all)


@pytest.mark.parametrize("role", ["main", "sentinel", "pusher"])
def test_one_of_django_qs_own_processes_killed(role: str, tmp_path: Path) -> None:
    with running_worker() as host:
        before = host.cluster(DEPLOYS)
        kill(before.auxiliary[role])
        send_probe(DEPLOYS, tmp_path / "probe")
        await_execution(tmp_path / "probe", within_seconds=PROMISED_SECONDS)

        if role != "pusher":
            assert_gone(before.all)


def test_a_monitor_killed_is_noticed_though_tasks_still_execute(tmp_path: Path) -> None:
    """The next monitor waits for ever for the lock the dead one held: results would never be acknowledged."""
    with running_worker() as host:
        before = host.cluster(DEPLOYS)
        kill(before.monitor)

        wait_for(lambda: not is_alive(before.main), what="restart", within_seconds=PROMISED_SECONDS, log=host.log)
        send_probe(DEPLOYS, tmp_path / "probe")
        await_execution(tmp_path / "probe", within_seconds=PROMISED_SECONDS)
        assert_gone(before.all)


def test_a_frozen_cluster_is_replaced_and_the_other_is_left_alone(tmp_path: Path) -> None:
    with running_worker() as host:
        frozen, other = host.cluster(DEPLOYS), host.cluster(ROLLBACKS)
        frozen.pusher.send_signal(signal.SIGSTOP)
        send_probe(DEPLOYS, tmp_path / "probe")

        await_execution(tmp_path / "probe", within_seconds=PROMISED_SECONDS)
        assert_gone(frozen.all)
        assert all(is_alive(process) for process in other.all)


def kill(process: psutil.Process) -> None:
    """Returns once it is dead, so that it cannot take the probe along."""
    process.kill()
    assert_gone((process,))


def assert_gone(processes: tuple[psutil.Process, ...]) -> None:
    wait_for(lambda: not any(is_alive(each) for each in processes), what="end of all", within_seconds=5, log=None)
