"""Deploys that come while a service is being held: each comes in before, and ends with what has not begun, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from django.db import connection, transaction

from deploys.models import Operation, Package, Target
from deploys.operations.hold import hold_service
from deploys.operations.start import DeployRequest, start_deploy
from deploys.operations.transitions import Move, apply_moves
from deploys.states import Kind, Step, TargetStatus
from deploys.worker.claims import claim
from deploys.worker.leases import create_lease
from deploys.worker.switch_permits import Granted, SwitchRequest, write_permits
from inventory.actors import SYSTEM
from inventory.errors import Conflict
from inventory.models import Service
from rollbacks.services import BatchRollbackRequest, start_batch_rollback
from tests.support.fleet import SCHEDULER
from tests.support.lab import wait_until
from tests.support.past import make_instances_at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

DEPLOYS = 1000
CALLERS = 20
ACCEPTED_BEFORE = 150


@pytest.fixture
def service() -> Service:
    service = Service.objects.create(name="web")
    Package.objects.create(service=service, version="v0", release="v0", sha256="0" * 64, size_bytes=1, url="http://p/")
    return service


def deploy(*numbers: int) -> Operation:
    instances = tuple(f"web-{number}" for number in numbers)
    request = DeployRequest(service="web", version="v2", instances=instances, package_url="http://p/v2")
    return start_deploy(access=SCHEDULER, request=request)


def hold() -> None:
    hold_service(access=SCHEDULER, service_name="web", reason="Payments time out")


def in_a_thread(pool: ThreadPoolExecutor, call: Callable[[], object]) -> Future[object]:
    """With a database connection of its own."""

    def run() -> object:
        try:
            return call()
        finally:
            connection.close()

    return pool.submit(run)


@dataclass(kw_only=True)
class Worker:
    """Claims deploys and switches them, as fast as the database lets it: begun_at says when it last began with some."""

    stopping: threading.Event = field(default_factory=threading.Event)
    begun_at: float = 0.0
    switched_at: float = 0.0
    switched: int = 0

    def run(self) -> None:
        lease = create_lease("worker-1", "deploys")
        while not self.stopping.is_set():
            asked_at = time.monotonic()
            claimed = [each for node in claim(kind=Kind.DEPLOY, lease_id=lease.pk, max_nodes=3) for each in node]
            if claimed:
                self.begun_at = asked_at
            asked = [
                SwitchRequest(target_id=each.target_id, fence=each.fence, operation_id=each.operation_id, seconds={})
                for each in claimed
            ]
            permits = write_permits(asked)
            self.switched += sum(isinstance(permit, Granted) for permit in permits.values())
            apply_moves([
                Move.of(each.as_claimed, to=TargetStatus.COMPLETED, actor=SYSTEM, fence=each.fence, step=Step.DONE)
                for each in claimed
            ])  # fmt: skip


def test_of_a_thousand_deploys_none_gets_in_after_a_rollback_that_holds(service: Service) -> None:
    make_instances_at_once(service, DEPLOYS)
    accepted: list[float] = []
    refused: list[str] = []

    def call(first: int) -> None:
        for number in range(first, DEPLOYS + 1, CALLERS):
            asked_at = time.monotonic()
            try:
                deploy(number)
                accepted.append(asked_at)
            except Conflict as error:
                refused.append(error.code)

    worker = Worker()
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        working = in_a_thread(pool, worker.run)
        calls = [in_a_thread(pool, partial(call, first)) for first in range(1, CALLERS + 1)]
        wait_until(lambda: len(accepted) >= ACCEPTED_BEFORE, what="deploys", seconds=60)
        rolled_back = tuple(f"web-{number}" for number in range(1, DEPLOYS, 10))
        start_batch_rollback(
            access=SCHEDULER,
            request=BatchRollbackRequest(service="web", target_version="v0", instances=rolled_back, hold=True),
        )
        answered_at = time.monotonic()
        for called in calls:
            called.result()
        worker.stopping.set()
        working.result()

    deploys = Target.objects.filter(kind=Kind.DEPLOY)
    assert not deploys.filter(status=TargetStatus.PENDING).exists()
    assert max(accepted) < answered_at
    assert worker.begun_at < answered_at
    assert set(refused) == {"service_held"}
    assert len(accepted) + len(refused) == DEPLOYS
    assert ACCEPTED_BEFORE <= deploys.count() == len(accepted) < DEPLOYS
    # Otherwise there was no race.
    assert worker.switched
    assert deploys.filter(status=TargetStatus.SUPERSEDED).exists()


@contextmanager
def running(call: Callable[[], object]) -> Iterator[Future[object]]:
    """In a thread that has come as far as a lock which somebody holds."""
    with ThreadPoolExecutor(1) as pool:
        future = in_a_thread(pool, call)
        wait_until(lambda: future.done() or is_anybody_waiting(), what="waiting for a lock", seconds=10)
        assert not future.done()
        yield future


def is_anybody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_a_hold_waits_for_a_deploy_that_is_being_made_and_ends_it(service: Service) -> None:
    make_instances_at_once(service, 1)
    with ExitStack() as stack, transaction.atomic():
        operation = deploy(1)
        stack.enter_context(running(hold))

    assert operation.targets.get().status == TargetStatus.SUPERSEDED


def test_a_deploy_waits_for_a_hold_that_is_being_made_and_is_refused(service: Service) -> None:
    make_instances_at_once(service, 1)
    with ExitStack() as stack, transaction.atomic():
        hold()
        waiting = stack.enter_context(running(lambda: deploy(1)))
    assert isinstance(waiting.exception(), Conflict)
    assert not Operation.objects.exists()


def test_what_a_worker_puts_back_while_a_hold_is_being_made_does_not_begin_again(service: Service) -> None:
    make_instances_at_once(service, 1)
    operation = deploy(1)
    claimed = claim(kind=Kind.DEPLOY, lease_id=create_lease("worker-1", "deploys").pk, max_nodes=1)[0][0]
    put_back = Move.of(claimed.as_claimed, to=TargetStatus.PENDING, actor=SYSTEM, fence=claimed.fence)
    with ExitStack() as stack, transaction.atomic():
        hold()
        stack.enter_context(running(lambda: apply_moves([put_back])))

    assert operation.targets.get().status == TargetStatus.SUPERSEDED


def test_a_hold_of_ten_thousand_waiting_targets_takes_seconds(service: Service) -> None:
    make_instances_at_once(service, 10_000)
    deploy(*range(1, 10_001))

    began = time.monotonic()
    hold()
    seconds = time.monotonic() - began

    assert set(Target.objects.values_list("status", flat=True)) == {TargetStatus.SUPERSEDED}
    assert seconds < 20, f"{seconds:.1f} s"
