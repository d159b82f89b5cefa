"""FAULTS.md 8: PostgreSQL restarted, or away for a while. Workers wait and go on; nobody takes them for hung."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from deploys.queue.names import DEPLOYS, QUEUES
from tests.support.private_postgres import PrivatePostgres, default_database, private_postgres
from tests.support.probe import await_execution, send_sleep
from tests.support.worker import WorkerHost, running_worker, wait_for

pytestmark = [pytest.mark.timeout(180)]

LONGER_THAN_A_HANG_SECONDS = 25


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        yield server


@pytest.mark.parametrize("away_seconds", [0, LONGER_THAN_A_HANG_SECONDS])
def test_a_worker_host_outlives_an_outage_with_all_its_processes(
    away_seconds: float, postgres: PrivatePostgres
) -> None:
    with running_worker({"DATABASE_URL": postgres.url}) as host:
        before = processes(host)

        postgres.stop()
        time.sleep(away_seconds)
        postgres.start()

        await_next_canary(host)
        assert processes(host) == before
        assert host.log.read_text().count("hung") == 0


def test_a_task_that_ends_while_the_database_is_away_costs_no_process(
    postgres: PrivatePostgres, django_db_blocker: DjangoDbBlocker, tmp_path: Path
) -> None:
    with running_worker({"DATABASE_URL": postgres.url}) as host:
        before = processes(host)
        with django_db_blocker.unblock(), default_database(postgres.url):
            send_sleep(DEPLOYS, tmp_path / "task", seconds=3)
            await_execution(tmp_path / "task", within_seconds=10)

        postgres.stop()
        time.sleep(5)
        postgres.start()

        await_next_canary(host)
        assert processes(host) == before


def test_a_worker_host_may_be_started_before_the_database(postgres: PrivatePostgres) -> None:
    postgres.stop()
    with running_worker({"DATABASE_URL": postgres.url}, wait=False) as host:
        time.sleep(3)
        postgres.start()

        host.wait_until_ready()


def test_a_worker_host_stops_in_time_while_the_database_is_away(postgres: PrivatePostgres) -> None:
    with running_worker({"DATABASE_URL": postgres.url}) as host:
        postgres.stop()
        time.sleep(3)
        started = time.monotonic()

        assert host.stop() == 0

        postgres.start()
        assert time.monotonic() - started < 30
        assert host.family() == set()


def processes(host: WorkerHost) -> set[int]:
    return {process.pid for queue in QUEUES for process in host.cluster(queue).all}


def await_next_canary(host: WorkerHost) -> None:
    last = host.canary_at()
    wait_for(lambda: host.canary_at() != last, what="canary after the outage", within_seconds=20, log=host.log)
