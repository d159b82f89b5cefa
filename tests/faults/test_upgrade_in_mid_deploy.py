"""FAULTS.md 31: the oldest schema, a dead worker's target, one not begun, a message; then it is all upgraded.

There is no released version yet to run as the older one. So its rows are written as that schema has them, and today's
migrations and today's worker find them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django_q.signing import SignedPackage
from pytest_django.plugin import DjangoDbBlocker

from deploys.models import Operation
from deploys.states import OperationStatus
from inventory.models import Instance
from tests.support.lab import RESTART, Lab, check_invariants, wait_for_end
from tests.support.package_host import PackageHost
from tests.support.private_postgres import PrivatePostgres, default_database, private_postgres
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(180)

# The first that had leases, fences and the queue: without them there was no worker to die.
OLDEST = [("inventory", "0001_initial"), ("deploys", "0002_fence_sequence")]


@pytest.fixture
def old_postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[PrivatePostgres]:
    with private_postgres(is_migrated=False) as server:
        for migration in OLDEST:
            server.migrate(*migration)
        server.migrate("django_q")
        with django_db_blocker.unblock(), default_database(server.url):
            yield server


def test_what_was_under_way_is_finished_by_the_newer_version(
    old_postgres: PrivatePostgres, tmp_path: Path, package_host: PackageHost
) -> None:
    lab = Lab(instances=(), package_host=package_host, faults=tmp_path)
    write_old_rows(tmp_path / "srv", lab.add_package("v1"))

    old_postgres.migrate()
    with running_worker(lab.environment):
        operation = Operation.objects.get()
        wait_for_end(operation, seconds=60)

    targets = operation.targets.order_by("instance__instance_id")
    assert operation.status == OperationStatus.COMPLETED, list(targets.values("error_message"))
    assert list(targets.values_list("claims", flat=True)) == [2, 1]
    instances = list(Instance.objects.all())
    for instance in instances:
        assert os.readlink(f"{instance.deploy_root}/current") == "releases/v1"
        assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1"]
    check_invariants(instances)


def write_old_rows(root: Path, package_url: str) -> None:
    """A deploy to two instances of which a worker, dead by now, had claimed the first one."""
    apps = MigrationExecutor(connection).loader.project_state(OLDEST).apps

    def create(label: str, model: str, /, **fields: Any) -> Any:
        return apps.get_model(label, model).objects.create(**fields)

    service = create("inventory", "Service", name="user-service", restart_command=RESTART, command_timeout=20)
    node = create("inventory", "Node", name="node-1", host="127.0.0.1", transport="local")
    operation = create(
        "deploys",
        "Operation",
        kind="deploy",
        public_id="deploy-1",
        service=service,
        version="v1",
        package_url=package_url,
        fingerprint="as-the-older-version-made-it",
        status="in_progress",
        total=2,
        requested_by="scheduler",
        requested_by_kind="token",
    )
    lease = create("deploys", "Lease", worker="old-host:1", queue="deploys", expires_at=timezone.now())
    begun = {"status": "in_progress", "step": "fetch", "lease": lease, "fence": next_fence(), "claims": 1}
    for number, fields in enumerate((begun, {}), start=1):
        instance = create(
            "inventory",
            "Instance",
            instance_id=f"instance-{number}",
            service=service,
            node=node,
            port=8000 + number,
            deploy_root=str(root / f"instance-{number}"),
        )
        create("deploys", "Target", operation=operation, instance=instance, kind="deploy", **fields)
    send_old_message(operation.pk)


def next_fence() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('deploys_fence')")
        return int(cursor.fetchone()[0])


def send_old_message(operation_id: int) -> None:
    """As it lies in the queue: what `deploys.tasks` says about paths and arguments holds for ever."""
    task = {
        "id": "0" * 32,
        "name": "old",
        "func": "deploys.tasks.drive",
        "args": (operation_id,),
        "kwargs": {},
        "started": timezone.now(),
        "cluster": "deploys",
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_q_ormq (key, payload, lock) VALUES ('deploys', %s, now())", [SignedPackage.dumps(task)]
        )
