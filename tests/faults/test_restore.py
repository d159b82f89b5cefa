"""A dump taken in mid-deploy, a disaster, a restore: what has happened since is not taken back unless somebody asks."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import F
from django.test import Client
from django.urls import reverse

from deploys.models import DatabaseSeal, Operation, Target, Worker
from deploys.operations.cancel import cancel_operation
from deploys.operations.restored import accept
from deploys.states import Kind, OperationStatus
from deploys.worker.leases import LEASE_SECONDS
from inventory.instances.sync_queue import request_sync
from inventory.models import Instance
from releasesite.embedded_postgres.programs import programs
from tests.support.database import process_environment
from tests.support.demo_data import people
from tests.support.fleet import SCHEDULER
from tests.support.lab import Lab, wait_for_end, wait_until
from tests.support.worker import WorkerHost, running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

SCRIPTS = Path(settings.BASE_DIR) / "scripts"


def run(command: Sequence[str]) -> str:
    """As a timer runs it, with the client programs that fit the server."""
    environment = process_environment(RELEASE_SERVER=f"{sys.executable} {settings.BASE_DIR / 'manage.py'}")
    environment["PATH"] = f"{programs()}:{environment['PATH']}"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def dumped(folder: Path, *, keep: int = 14) -> Path:
    return Path(run([str(SCRIPTS / "dump.sh"), str(folder), str(keep)]))


def current_of(instance: Instance) -> str:
    return os.readlink(Path(instance.deploy_root, "current")).removeprefix("releases/")


def manage(*arguments: str) -> str:
    return run([sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments])


def restore(dump: Path) -> None:
    """As docs/upgrade.md says."""
    name = connection.settings_dict["NAME"]
    connections.close_all()
    manage(
        "pg",
        "pg_restore",
        *["--clean", "--if-exists", "--exit-on-error", "--single-transaction"],
        f"--dbname={name}",
        str(dump),
    )


def test_nothing_goes_back_unless_it_is_asked_for(lab: Lab, tmp_path: Path, client: Client) -> None:
    accept()
    first, second = lab.instances
    hold = Path(first.deploy_root, "hold")
    with running_worker(lab.environment) as host:
        wait_for_end(lab.deploy("v1"), seconds=30)
        hold.touch()
        midway = lab.deploy("v2")
        wait_until(lambda: has_ended(midway, second) and current_of(first) == "v2", what="switch", seconds=30)
        dump = dumped(tmp_path / "dumps")
        hold.unlink()
        wait_for_end(midway, seconds=30)
        wait_for_end(lab.deploy("v3"), seconds=30)
        assert host.stop() == 0
    assert_rehearsed(tmp_path / "more")

    restore(dump)

    assert f"deploy {midway.public_id}: user-service v2, 2 instances" in manage("after_restore")
    with running_worker(lab.environment) as host:
        assert_it_waits_and_says_so(host, client)
        request_sync(access=SCHEDULER, service_name="user-service")
        wait_until(lambda: running(second) == "v3", what="sync of what is not in progress", seconds=30)
        asked_for = lab.deploy("v3", instances=[second])
        time.sleep(LEASE_SECONDS + 8)  # Past the time when a reaper would reassign what the dump's worker had.
        assert set(Target.objects.filter(operation=midway).values_list("claims", flat=True)) == {1}
        assert set(Target.objects.filter(operation=asked_for).values_list("claims", flat=True)) == {0}
        cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=midway.public_id)

        assert manage("after_restore", "--resume").endswith("workers go on")

        wait_for_end(midway, seconds=60)
        wait_for_end(asked_for, seconds=60)
        assert asked_for.status == OperationStatus.COMPLETED
        assert midway.status == OperationStatus.CANCELLED
        assert [current_of(each) for each in lab.instances] == ["v3", "v3"]
        wait_until(lambda: not Worker.objects.get(name=host.name).is_paused, what="heartbeat", seconds=10)
        request_sync(access=SCHEDULER, service_name="user-service")
        wait_until(lambda: running(first) == "v3", what="truth about the node", seconds=30)
        wait_for_end(lab.roll_back(first, "v1"), seconds=60)
    assert [current_of(each) for each in lab.instances] == ["v1", "v3"], "what is asked for goes back"


def has_ended(operation: Operation, instance: Instance) -> bool:
    return Target.objects.filter(operation=operation, instance=instance, finished_at__isnull=False).exists()


def running(instance: Instance) -> str:
    instance.refresh_from_db()
    return instance.running_version


def assert_it_waits_and_says_so(host: WorkerHost, client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "workers_paused")
    client.force_login(people()["viewer"])
    wait_until(  # the dump's worker counts as heard from for some seconds
        lambda: (
            "The database was restored from a dump: every worker is paused."
            in client.get(reverse("overview")).content.decode()
        ),
        what="the overview's word on the pause",
        seconds=40,
    )
    said = io.StringIO()
    with suppress(SystemExit):
        call_command("doctor", stdout=said)
    assert "Every worker is paused" in said.getvalue()
    assert "paused, since the database was restored from a dump" in host.log.read_text()


def assert_rehearsed(folder: Path) -> None:
    """Of the folder's newest; nothing of it is left, and no more dumps than wanted."""
    old = folder / "release-20240115T103000Z.dump"
    folder.mkdir()
    old.touch()
    newest = dumped(folder, keep=1)
    assert list(folder.iterdir()) == [newest]
    assert newest.stat().st_mode & 0o077 == 0
    said = run([str(SCRIPTS / "rehearse_restore.sh"), str(folder)])
    assert "audit intact" in said
    assert "unfinished operations, which workers go on with: 0" in said
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'release_rehearsal%'")
        assert cursor.fetchone() == (0,)


def test_a_worker_that_runs_on_claims_nothing_once_the_database_is_another(lab: Lab) -> None:
    accept()
    with running_worker(lab.environment) as host:
        wait_for_end(lab.deploy("v1"), seconds=30)
        DatabaseSeal.objects.update(xid=F("xid"))  # By another transaction than it says, as a restore writes it.
        asked_for = lab.deploy("v2")
        wait_until(lambda: Worker.objects.get(name=host.name).is_paused, what="heartbeat", seconds=10)
        time.sleep(LEASE_SECONDS)  # Reapers would have sent others after it by now.
        assert set(Target.objects.filter(operation=asked_for).values_list("claims", flat=True)) == {0}

        host.process.send_signal(signal.SIGUSR1)

        wait_for_end(asked_for, seconds=60)
    assert [current_of(each) for each in lab.instances] == ["v2", "v2"]


def test_a_worker_that_was_told_to_pause_resumes_and_stops_as_any_other(lab: Lab) -> None:
    with running_worker(lab.environment, arguments=("--paused",)) as host:
        assert f"kill -USR1 {host.process.pid}" in host.log.read_text()
        asked_for = lab.deploy("v1")
        wait_until(lambda: Worker.objects.get(name=host.name).is_paused, what="heartbeat", seconds=10)
        assert set(Target.objects.filter(operation=asked_for).values_list("claims", flat=True)) == {0}

        host.process.send_signal(signal.SIGUSR1)

        wait_for_end(asked_for, seconds=60)


def test_a_paused_worker_stops_as_any_other() -> None:
    with running_worker(arguments=("--paused",)) as host:
        began = time.monotonic()
        assert host.stop() == 0
        assert time.monotonic() - began < 10
        assert host.family() == set()
        assert not Worker.objects.filter(name=host.name).exists()
