"""A database with too few connections for one worker host: work is delayed, which is said; nothing fails for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, connection
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from deploys.models import Target, Worker
from deploys.states import OperationStatus
from inventory.models import Instance
from tests.support.fleet import make_instances, make_node
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.package_host import PackageHost
from tests.support.private_postgres import PrivatePostgres, default_database, folder_for_postgres
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(300)

NODES = 30
MAX_CONNECTIONS = 16
SECONDS = 150


@pytest.fixture
def postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[PrivatePostgres]:
    with folder_for_postgres() as folder:
        server = PrivatePostgres(folder / "postgres", configuration={"max_connections": str(MAX_CONNECTIONS)})
        try:
            server.migrate()
            with django_db_blocker.unblock(), default_database(server.url):
                yield server
        finally:
            connection.close()
            server.stop()


def test_all_complete_in_the_end_and_readiness_says_why_it_takes_long(
    postgres: PrivatePostgres, tmp_path: Path, package_host: PackageHost
) -> None:
    lab = many_nodes(tmp_path, package_host)
    operations = [lab.deploy("v1")]
    said: set[str] = set()
    with running_worker(lab.environment, wait=False):

        def has_ended_and_told() -> bool:
            """A process that was refused tells at its next beat or work loop: a quick deploy may be over before, so one more."""
            time.sleep(0.5)
            said.add(ready())
            try:
                operations[-1].refresh_from_db()
                if operations[-1].finished_at is None:
                    return False
                if Worker.objects.get().trouble == Worker.Trouble.CONNECTIONS:
                    return True
                operations.append(lab.deploy(f"v{len(operations) + 1}"))
            except OperationalError:
                return False
            finally:
                connection.close()
            return False

        seconds = wait_until(has_ended_and_told, what="end, and word of the shortage", seconds=SECONDS)
    print(
        f"{NODES} nodes with {MAX_CONNECTIONS} connections: {len(operations)} deploys, {seconds:.1f} s; /readyz: {said}"
    )

    for operation in operations:
        assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
    assert set(Target.objects.values_list("deaths", flat=True)) == {0}
    assert "database_connections" in said
    assert Worker.objects.get().trouble == Worker.Trouble.CONNECTIONS
    check_invariants(lab.instances)


def many_nodes(folder: Path, package_host: PackageHost) -> Lab:
    one = Lab.build(folder, package_host)
    service = one.instances[0].service
    others: list[Instance] = []
    for number in range(2, NODES + 1):
        others += make_instances(service, make_node(f"node-{number}"), 1, prefix=f"i{number}", root=folder)
    return Lab(instances=(*one.instances, *others), package_host=package_host, faults=one.faults)


def ready() -> str:
    answer = APIClient().get("/readyz").json()
    return str(answer.get("status") or answer["errors"][0]["code"])
