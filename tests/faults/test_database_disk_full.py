"""FAULTS.md 32: PostgreSQL's own disk is full in mid-deploy, at its tables or at its write-ahead log; then there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from django.db import DatabaseError, connection
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from deploys.models import Operation
from deploys.states import OperationStatus
from tests.support.api import caller
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import PackageHost
from tests.support.private_postgres import PrivatePostgres, default_database, folder_for_postgres
from tests.support.worker import WorkerHost, running_worker

pytestmark = pytest.mark.timeout(180)

FULL_SECONDS = 5
# What was committed has to outlive the server's crash; the machine's own crash is not part of this.
DURABLE = {"synchronous_commit": "on", "full_page_writes": "on", "min_wal_size": "32MB", "max_wal_size": "64MB"}
# More lines than the pages that the log has already can take.
CHATTY = 'i=0; while [ $i -lt 3000 ]; do echo "line $i of the restart"; i=$((i + 1)); done'


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of 256 MB."""
    with folder_for_postgres() as folder:
        options = "size=256m,mode=755"
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False)
        if mounted.returncode != 0:
            pytest.skip("mounting a small file system needs root and the right to mount")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def postgres(also_the_log: bool, disk: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[PrivatePostgres]:
    with folder_for_postgres() as another_disk:
        server = PrivatePostgres(disk / "postgres", configuration=DURABLE)
        try:
            if not also_the_log:
                server.stop()
                move(disk / "postgres/data/pg_wal", another_disk / "pg_wal")
                server.start()
            server.migrate()
            with django_db_blocker.unblock(), default_database(server.url):
                yield server
        finally:
            server.stop()


def move(folder: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", folder, to], check=True)
    shutil.rmtree(folder)
    folder.symlink_to(to)


@pytest.mark.parametrize("also_the_log", [False, True], ids=["tables", "write-ahead log"])
def test_it_is_told_harms_nothing_and_work_goes_on_with_room(
    also_the_log: bool, disk: Path, postgres: PrivatePostgres, tmp_path: Path, package_host: PackageHost
) -> None:
    lab = Lab.build(tmp_path, package_host, count=2)
    switching, other = lab.instances
    service = switching.service
    service.restart_command += CHATTY
    service.save()
    restart_held = Path(switching.deploy_root, "hold")
    restart_held.parent.mkdir(parents=True)
    restart_held.touch()
    scheduler = caller()
    body = {
        "service": service.name,
        "version": "v2",
        "instances": [other.instance_id],
        "package_url": lab.add_package("v2"),
    }
    with running_worker(lab.environment) as host:
        operation = lab.deploy("v1", instances=[switching])
        wait_until(lambda: os.path.islink(f"{switching.deploy_root}/current"), what="switch", seconds=60)

        before = processes_of(host)
        filler = fill(disk)
        if also_the_log:
            crash()
        restart_held.unlink()
        statuses = refused_new_work(scheduler, body)
        assert statuses == {503} or not also_the_log, "the server had not ended"
        said = "the database is away" if also_the_log else "does not take"
        wait_until(lambda: said in host.log.read_text(), what="word of it in the log", seconds=30)
        time.sleep(FULL_SECONDS)
        filler.unlink()
        connection.close()
        postgres.start()  # where the server itself has ended

        wait_for_end(operation, seconds=60)
        accepted = scheduler.post("/v1/deploy/execute", {**body, "deploy_id": "with-room"}, format="json")
        assert accepted.status_code in (202, 409), accepted.content
        wait_until(lambda: not Operation.objects.filter(finished_at=None).exists(), what="end of all", seconds=60)
        assert processes_of(host) == before, "a worker had to be started anew"
        assert ("terminated abnormally" in host.log.read_text()) == also_the_log, "not the fault that was meant"

    assert set(Operation.objects.values_list("status", flat=True)) == {OperationStatus.COMPLETED}
    assert Path(switching.deploy_root, "restarts.txt").read_text().split() == ["v1"]
    assert operation.log_lines.filter(text__startswith="line ").count() == 2_200  # the first 2,000 and the last 200
    check_invariants(lab.instances)
    with connection.cursor() as cursor:
        cursor.execute("REINDEX DATABASE")  # reads every row, and finds any key twice


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True, check=False)
    return filler


def crash() -> None:
    """The log's next segment finds no room: PostgreSQL ends all connections, and does not come up again by itself."""
    for _ in range(20):
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 4000000)), pg_switch_wal()")
        except DatabaseError:
            connection.close()
            return
    pytest.fail("the write-ahead log found room")


def refused_new_work(scheduler: APIClient, body: Mapping[str, object]) -> set[int]:
    """The answers to many requests: rows fit in while the pages that are there have room; then 503, never another error."""
    statuses = set()
    for number in range(2000):
        connection.close_if_unusable_or_obsolete()
        answer = scheduler.post("/v1/deploy/execute", {**body, "deploy_id": f"full-{number}"}, format="json")
        statuses.add(answer.status_code)
        if answer.status_code == 503:
            break
    assert statuses - {202, 409} == {503}
    return statuses


def processes_of(host: WorkerHost) -> set[int]:
    return {process.pid for process in host.family() if "--cluster" in process.cmdline()}
