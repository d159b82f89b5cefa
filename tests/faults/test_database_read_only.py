"""The database takes no writes for a while, as after a failover: what only reads works, the rest says so and waits."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from deploys.states import OperationStatus
from tests.support.api import caller, person
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import PackageHost
from tests.support.private_postgres import PrivatePostgres, default_database, private_postgres
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(180)

READ_ONLY_SECONDS = 10


@pytest.fixture
def postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[PrivatePostgres]:
    with private_postgres() as server, django_db_blocker.unblock(), default_database(server.url):
        yield server


@contextmanager
def read_only(postgres: PrivatePostgres) -> Iterator[None]:
    set_read_only(postgres, "on")
    try:
        yield
    finally:
        set_read_only(postgres, "off")


def set_read_only(postgres: PrivatePostgres, value: str) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as other:
        other.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        other.execute("SELECT pg_reload_conf()")
    wait_until(lambda: setting() == value, what=f"read-only {value}", seconds=10)


def setting() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW default_transaction_read_only")
        return str(cursor.fetchone()[0])


def test_reads_answer_writes_say_so_and_work_goes_on_when_it_ends(
    postgres: PrivatePostgres, tmp_path: Path, package_host: PackageHost
) -> None:
    lab = Lab.build(tmp_path, package_host, count=2)
    switching, waiting = lab.instances
    restart_held = Path(switching.deploy_root, "hold")
    restart_held.parent.mkdir(parents=True)
    restart_held.touch()
    scheduler, browser = caller(), Client(raise_request_exception=False)
    admin = person("admin")
    admin.is_staff = True
    admin.save()
    browser.force_login(admin)
    with running_worker(lab.environment) as host:
        operation = lab.deploy("v1", instances=[switching])
        wait_until(lambda: Path(switching.deploy_root, "current").is_symlink(), what="switch", seconds=60)
        with read_only(postgres):
            restart_held.unlink()
            began = time.monotonic()
            assert ready() == (503, "database_read_only")
            assert_reads_answer(scheduler, operation.public_id)
            assert_pages_answer(browser, operation.public_id)
            assert_writes_say_so(scheduler, browser, lab)
            wait_until(lambda: "the database is read-only" in host.log.read_text(), what="word of it", seconds=30)
            time.sleep(max(0.0, READ_ONLY_SECONDS - (time.monotonic() - began)))
        wait_for_end(operation, seconds=60)
        after = lab.deploy("v2", instances=[waiting])
        wait_for_end(after, seconds=60)
        wait_until(lambda: ready() == (200, "ok"), what="readiness", seconds=30)
        assert "Traceback" not in host.log.read_text()

    assert {operation.status, after.status} == {OperationStatus.COMPLETED}
    assert operation.targets.get().deaths == 0
    assert Path(switching.deploy_root, "restarts.txt").read_text().split() == ["v1"]
    check_invariants(lab.instances)


def ready() -> tuple[int, str]:
    answer = APIClient().get("/readyz")
    return answer.status_code, answer.json().get("status") or answer.json()["errors"][0]["code"]


def assert_reads_answer(scheduler: APIClient, deploy: str) -> None:
    paths = (
        f"/v1/deploy/status/{deploy}",
        f"/v1/deploy/logs/{deploy}",
        "/v1/deploy/list",
        "/v1/rollback/list",
        "/v1/service/user-service/instances",
        "/v1/service/user-service/instances/versions",
        "/v1/instance/instance-1/history",
        "/v1/schema",
    )
    assert {path: scheduler.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


def assert_pages_answer(browser: Client, deploy: str) -> None:
    paths = ("/", "/history", "/services/user-service", f"/deploys/{deploy}", "/admin/", "/admin/inventory/node/")
    answers = {path: browser.get(path) for path in paths}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(paths, 200)
    assert "The database is read-only." in answers["/"].content.decode()
    assert "The database is read-only." in answers[f"/deploys/{deploy}"].content.decode()


def assert_writes_say_so(scheduler: APIClient, browser: Client, lab: Lab) -> None:
    body = {
        "service": "user-service",
        "version": "v2",
        "instances": [lab.instances[1].instance_id],
        "package_url": lab.add_package("v2"),
    }
    refused = scheduler.post("/v1/deploy/execute", body, format="json")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (503, "database_read_only")
    assert int(refused.headers["Retry-After"]) > 0
    login = Client(raise_request_exception=False).post("/login", {"username": "ada", "password": "wrong"})
    assert login.status_code == 503
    assert int(login.headers["Retry-After"]) > 0
    assert re.search("The database is read-only", login.content.decode())
