"""A claim fails by an error of the schema, again and again: the deploy ends. An outage, however long, ends nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django.plugin import DjangoDbBlocker

from deploys.models import Lease
from deploys.states import Kind, OperationStatus, Step, TargetStatus
from deploys.worker import claim_failures, leases
from deploys.worker.claims import claim
from inventory.models import RunStatus
from tests.support.lab import Lab, check_invariants, wait_for_end
from tests.support.package_host import PackageHost
from tests.support.private_postgres import PrivatePostgres, default_database, private_postgres
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(180)

END_SECONDS = 60
AWAY_SECONDS = 12
# Only the claim's loading reads it; a query of the claim itself reads it; and the claim can't be written.
GONE_COLUMN = (
    "ALTER TABLE inventory_service RENAME COLUMN keep_releases TO kept",
    "ALTER TABLE inventory_service RENAME COLUMN kept TO keep_releases",
)
GONE_COLUMN_OF_THE_QUERY = (
    "ALTER TABLE deploys_target RENAME COLUMN started_at TO begun_at",
    "ALTER TABLE deploys_target RENAME COLUMN begun_at TO started_at",
)
# Before anything is claimed: a work loop can't even begin.
GONE_COLUMN_OF_THE_LEASE = (
    "ALTER TABLE deploys_lease RENAME COLUMN queue TO line",
    "ALTER TABLE deploys_lease RENAME COLUMN line TO queue",
)
REFUSING_TRIGGER = (
    """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON deploys_target FOR EACH ROW
    WHEN (NEW.status = 'in_progress' AND OLD.status = 'pending') EXECUTE FUNCTION refuse()
    """,
    "DROP TRIGGER refuse ON deploys_target; DROP FUNCTION refuse()",
)


@contextmanager
def broken(schema: tuple[str, str]) -> Iterator[None]:
    execute(schema[0])
    try:
        yield
    finally:
        execute(schema[1])


def execute(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "schema",
    [GONE_COLUMN, GONE_COLUMN_OF_THE_QUERY, GONE_COLUMN_OF_THE_LEASE, REFUSING_TRIGGER],
    ids=["load", "query", "lease", "trigger"],
)
def test_the_deploy_ends_with_a_traceback_in_the_log_and_the_next_one_is_done(
    schema: tuple[str, str], lab: Lab
) -> None:
    operation = lab.deploy("v1")
    with ExitStack() as repaired:
        repaired.enter_context(broken(schema))
        with running_worker(lab.environment, wait=False) as host:
            wait_for_end(operation, seconds=END_SECONDS)
            log = host.log.read_text()
            repaired.close()
            after = lab.deploy("v2")
            wait_for_end(after, seconds=END_SECONDS)

    assert operation.status == OperationStatus.FAILED
    ended = operation.targets.values_list("status", "error_code", "claims", "step")
    assert set(ended) == {(TargetStatus.FAILED, "internal_error", 0, "queued")}
    assert "Traceback" in log
    assert "Claiming failed" in log
    assert "the database is away" not in log
    assert after.status == OperationStatus.COMPLETED, list(after.targets.values("error_message"))
    check_invariants(lab.instances)


def test_an_outage_longer_than_the_tries_ends_nothing(
    tmp_path: Path, package_host: PackageHost, postgres: PrivatePostgres
) -> None:
    lab = Lab.build(tmp_path, package_host, count=2)
    operation = lab.deploy("v1")
    connection.close()
    postgres.stop()

    with running_worker(lab.environment, wait=False) as host:
        time.sleep(AWAY_SECONDS)
        postgres.start()
        wait_for_end(operation, seconds=END_SECONDS + 20)
        assert "Claiming failed" not in host.log.read_text()

    assert operation.status == OperationStatus.COMPLETED
    check_invariants(lab.instances)


@pytest.fixture
def postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[PrivatePostgres]:
    with private_postgres() as server, django_db_blocker.unblock(), default_database(server.url):
        yield server


@pytest.mark.django_db(transaction=True)
def test_nothing_is_ended_while_another_drive_can_claim(lab: Lab) -> None:
    running, waiting = lab.instances
    lab.deploy("v1", instances=[running])
    healthy = leases.create_lease("another", "deploys")
    claim(kind=Kind.DEPLOY, lease_id=healthy.pk, max_nodes=1)
    operation = lab.deploy("v2", instances=[waiting])
    ours = leases.create_lease("ours", "deploys")
    failures = claim_failures.ClaimFailures(kind=Kind.DEPLOY, lease_id=ours.pk)

    fail_often(failures)
    assert operation.targets.get().status == TargetStatus.PENDING

    Lease.objects.filter(pk=healthy.pk).update(expires_at=Now() - leases.LEASE)
    fail_often(failures)
    assert operation.targets.get().error_code == "internal_error"


@pytest.mark.django_db(transaction=True)
def test_of_two_operations_the_older_ends_first_and_a_claim_that_works_spares_the_other(lab: Lab) -> None:
    first, second = (lab.deploy(f"v{number}", instances=[each]) for number, each in enumerate(lab.instances))
    failures = claim_failures.ClaimFailures(kind=Kind.DEPLOY, lease_id=leases.create_lease("ours", "deploys").pk)

    fail_often(failures)
    failures.clear()
    failures.add(ValueError("another one"))

    assert first.targets.get().status == TargetStatus.FAILED
    assert second.targets.get().status == TargetStatus.PENDING


@pytest.mark.django_db(transaction=True)
def test_what_a_dead_worker_may_have_switched_is_unknown_then(lab: Lab) -> None:
    operation = lab.deploy("v1", instances=lab.instances[:1])
    dead = leases.create_lease("dead", "deploys")
    claim(kind=Kind.DEPLOY, lease_id=dead.pk, max_nodes=1)
    operation.targets.update(step=Step.SWITCH, lease=None)

    fail_often(claim_failures.ClaimFailures(kind=Kind.DEPLOY, lease_id=0))

    target = operation.targets.get()
    assert (target.status, target.error_code, target.step) == (TargetStatus.FAILED, "internal_error", Step.SWITCH)
    assert target.instance.run_status == RunStatus.UNKNOWN


def fail_often(failures: claim_failures.ClaimFailures) -> None:
    for _ in range(claim_failures.TRIES):
        failures.add(ValueError("no such step"))
