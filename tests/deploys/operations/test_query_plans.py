"""With a million past targets, nothing that is asked often reads the whole table: shown by EXPLAIN of what really runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from deploys.host.reaper import reap
from deploys.models import Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.operations.transitions import Move, apply_moves
from deploys.states import Kind, TargetStatus
from deploys.worker.claims import claim, stop_requests
from deploys.worker.leases import create_lease
from inventory.actors import SYSTEM
from inventory.models import Instance, Service
from rollbacks.services import BatchRollbackRequest, start_batch_rollback
from tests.support.api import caller
from tests.support.fleet import SCHEDULER
from tests.support.past import make_instances_at_once, make_past_deploys

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

INSTANCES = 2_000
PAST_DEPLOYS = 500


@pytest.fixture(scope="module", autouse=True)
def past(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A million past targets, and one deploy of 300 instances that waits."""
    with django_db_blocker.unblock(), transaction.atomic():
        with connection.cursor() as cursor:
            # Or each test's end would check the foreign keys of the million again.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        service = Service.objects.create(name="large")
        make_instances_at_once(service, INSTANCES)
        make_past_deploys(service, PAST_DEPLOYS)
        start_deploy(
            access=SCHEDULER,
            request=DeployRequest(
                service="large",
                version="v2",
                instances=tuple(f"large-{number}" for number in range(1, 301)),
                package_url="http://127.0.0.1/v2.tar.gz",
                deploy_id="waiting",
            ),
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        yield
        transaction.set_rollback(True)


class Plans:
    """Explains every statement before it runs, and keeps those that read all of the targets."""

    def __init__(self) -> None:
        self.scans: list[str] = []
        self.explained = 0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        words = sql.lstrip().split(None, 1)
        if not many and words and words[0].upper() in ("SELECT", "WITH", "UPDATE", "DELETE", "INSERT"):
            self._explain(sql, params)
        return execute(sql, params, many, context)

    def _explain(self, sql: str, params: Any) -> None:
        with connection.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}", params)
            plan = "\n".join(row[0] for row in cursor.fetchall())
        self.explained += 1
        if "Seq Scan on deploys_target" in plan:
            self.scans.append(f"{sql}\n{plan}")


@contextmanager
def no_sequential_scan() -> Iterator[None]:
    plans = Plans()
    with connection.execute_wrapper(plans):
        yield
    assert plans.explained
    assert not plans.scans, "\n\n".join(plans.scans)


def test_a_sequential_scan_is_noticed() -> None:
    with pytest.raises(AssertionError, match="Seq Scan"), no_sequential_scan():
        list(Target.objects.filter(error_message="x"))


def test_there_are_a_million_past_targets() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM deploys_target WHERE finished_at IS NOT NULL")
        assert cursor.fetchone() == (INSTANCES * PAST_DEPLOYS,)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/deploy/status/large-past-7",
        "/v1/deploy/status/waiting",
        "/v1/deploy/list",
        "/v1/deploy/list?status=in_progress",
        "/v1/deploy/list?status=pending&service=large",
        "/v1/deploy/list?version=v1&status=completed",
        "/v1/deploy/logs/large-past-7",
        "/v1/deploy/logs/large-past-7?instance=large-7",
        "/v1/rollback/list",
        "/v1/service/large/instances",
        "/v1/service/large/instances/versions",
        "/v1/instance/large-7/history",
        "/v1/service/large/hold",
    ],
)
def test_the_api_reads_by_index(path: str) -> None:
    client = caller("read")
    with no_sequential_scan():
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("overview", []),
        ("history", []),
        ("service", ["large"]),
        ("deploy", ["large-past-7"]),
        ("deploy", ["waiting"]),
        ("deploy-log-part", ["large-past-7"]),
        ("instance", ["large-7"]),
        ("roll-back", ["large"]),
        ("deploy-start", []),
    ],
)
def test_the_console_reads_by_index(name: str, args: list[str], client: Client) -> None:
    client.force_login(User.objects.create_superuser("admin"))
    with no_sequential_scan():
        assert client.get(reverse(name, args=args)).status_code == 200


def test_starting_and_cancelling_use_indexes() -> None:
    client = caller("deploy")
    names = [f"large-{number}" for number in range(301, 601)]
    body = {"service": "large", "version": "v2", "package_url": "http://127.0.0.1/x.tar.gz", "deploy_id": "new"}
    with no_sequential_scan():
        assert client.post("/v1/deploy/execute", {**body, "instances": names}).status_code == 202
        assert client.post("/v1/deploy/cancel/new").status_code == 202
        assert client.post("/v1/deploy/retry/new").status_code == 202


def test_holding_uses_indexes() -> None:
    client = caller("deploy")
    with no_sequential_scan():
        assert client.put("/v1/service/large/hold", {"reason": "x"}).status_code == 200
        assert client.get("/v1/deploy/status/waiting").json()["status"] == "cancelled"
        assert client.delete("/v1/service/large/hold").status_code == 200


def test_starting_a_rollback_uses_indexes() -> None:
    with no_sequential_scan():
        start_batch_rollback(
            access=SCHEDULER,
            request=BatchRollbackRequest(
                service="large", target_version="v0", package_url="http://127.0.0.1/v0.tar.gz"
            ),
        )


def test_claim_progress_and_end_use_indexes() -> None:
    lease = create_lease("a worker", "deploys")
    with no_sequential_scan():
        claimed = [each for group in claim(kind=Kind.DEPLOY, lease_id=lease.pk, max_nodes=100) for each in group]
        stop_requests([each.target_id for each in claimed])
        moved = apply_moves([
            Move(
                target_id=each.target_id,
                instance_id=each.instance_pk,
                operation_id=each.operation_id,
                operation_name=each.operation_name,
                attempt=each.attempt,
                old=TargetStatus.IN_PROGRESS,
                new=TargetStatus.COMPLETED,
                actor=SYSTEM,
                fence=each.fence,
            )
            for each in claimed
        ])  # fmt: skip
    assert len(moved) == 100


def test_the_reaper_uses_indexes() -> None:
    lease = create_lease("a dead worker", "deploys")
    claim(kind=Kind.DEPLOY, lease_id=lease.pk, max_nodes=10)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE deploys_lease SET expires_at = now() - interval '1 hour' WHERE id = %s", [lease.pk])
    with no_sequential_scan():
        reap()


def test_the_newest_targets_of_an_instance_are_found_by_index() -> None:
    instance = Instance.objects.get(instance_id="large-7")
    with no_sequential_scan():
        list(Target.objects.filter(instance=instance).order_by("-id")[:20])
