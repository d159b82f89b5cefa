"""FAULTS.md 8, 9: PostgreSQL goes away, or cuts every connection, while a deploy is at work."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from deploys.models import Operation
from deploys.states import OperationStatus
from inventory.models import Instance
from tests.support.api import caller
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import Behaviour, PackageHost
from tests.support.private_postgres import PrivatePostgres, default_database, private_postgres
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(240)

AWAY_SECONDS = 60
CUTTING_SECONDS = 4

CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[PrivatePostgres]:
    """The database of this process and of the workers that it starts, on a server that may be stopped."""
    with private_postgres() as server, django_db_blocker.unblock(), default_database(server.url):
        yield server


def test_an_outage_fails_nothing_and_refuses_new_work_with_503(
    postgres: PrivatePostgres, tmp_path: Path, package_host: PackageHost
) -> None:
    lab = Lab.build(tmp_path, package_host, count=2)
    switching = lab.instances[0]
    restart_held = hold_restart(switching)
    scheduler = caller()
    with running_worker(lab.environment) as host:
        operation = lab.deploy("v1", instances=[switching])
        wait_until(lambda: os.path.islink(f"{switching.deploy_root}/current"), what="switch", seconds=60)
        body = request_of(lab, "v2", lab.instances[1])

        postgres.stop()
        assert scheduler.post("/v1/deploy/execute", body, format="json").status_code == 503
        restart_held.unlink()
        time.sleep(AWAY_SECONDS)
        connection.close()
        postgres.start()

        wait_for_end(operation, seconds=60)
        answer = scheduler.post("/v1/deploy/execute", body, format="json")
        assert answer.status_code == 202
        second = Operation.objects.get(public_id="deploy-v2")
        wait_for_end(second, seconds=60)
        assert "hung" not in host.log.read_text()

    assert (operation.status, second.status) == (OperationStatus.COMPLETED, OperationStatus.COMPLETED)
    assert Path(switching.deploy_root, "restarts.txt").read_text().split() == ["v1"]
    check_invariants(lab.instances)


@pytest.mark.django_db(transaction=True)
def test_connections_cut_again_and_again_cost_time_and_no_second_switch(
    tmp_path: Path, package_host: PackageHost
) -> None:
    lab = Lab.build(tmp_path, package_host, count=6)
    with running_worker(lab.environment):
        operation = lab.deploy("v1")
        began = time.monotonic()
        while time.monotonic() - began < CUTTING_SECONDS:
            with connection.cursor() as cursor:  # this one is spared
                cursor.execute(CUT)
            time.sleep(0.2)
        wait_for_end(operation, seconds=60)

    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
    for instance in lab.instances:
        assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1"]
    check_invariants(lab.instances)


@pytest.mark.django_db(transaction=True)
def test_connections_cut_while_the_package_is_fetched_fail_nothing(
    lab: Lab, run_work_loop: Callable[[str], None]
) -> None:
    lab.package_host.behave("v1.tar.gz", Behaviour(silent_seconds=1, times=1))
    operation = lab.deploy("v1")
    thread = threading.Thread(target=run_work_loop, args=("deploys",))
    thread.start()
    wait_until(lambda: lab.package_host.requests_for("v1.tar.gz") != [], what="download", seconds=30)
    with connection.cursor() as cursor:
        cursor.execute(CUT)
    thread.join(timeout=60)

    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
    check_invariants(lab.instances)


def hold_restart(instance: Instance) -> Path:
    held = Path(instance.deploy_root, "hold")
    held.parent.mkdir(parents=True)
    held.touch()
    return held


def request_of(lab: Lab, version: str, instance: Instance) -> dict[str, object]:
    return {
        "service": "user-service",
        "version": version,
        "instances": [instance.instance_id],
        "package_url": lab.add_package(version),
        "deploy_id": f"deploy-{version}",
    }
