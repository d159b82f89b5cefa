"""When a sync is enqueued: once at a time per service, on request and by the clock."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django_q.models import OrmQ

from inventory import tasks
from inventory.actors import Actor, ActorKind
from inventory.errors import NotFound
from inventory.instances.sync import sync_service
from inventory.instances.sync_queue import begin, due_services, end, enqueue_due_syncs, request_sync
from inventory.models import AuditEntry, Service
from inventory.security.access import SYSTEM_ACCESS, Access, Scope
from tests.support.fleet import make_service

pytestmark = pytest.mark.django_db


def queued() -> int:
    return int(OrmQ.objects.filter(key="rollbacks").count())


def test_a_request_is_enqueued_where_no_deploy_is_in_its_way() -> None:
    make_service("shop")

    request_sync(access=SYSTEM_ACCESS, service_name="shop")

    assert queued() == 1
    assert AuditEntry.objects.get().action == "service.sync"


def test_asking_again_before_it_begins_adds_nothing() -> None:
    make_service("shop")

    for _ in range(3):
        request_sync(access=SYSTEM_ACCESS, service_name="shop")

    assert queued() == 1


def test_an_unknown_service_is_not_found() -> None:
    with pytest.raises(NotFound):
        request_sync(access=SYSTEM_ACCESS, service_name="none")


def test_another_ones_service_is_not_found() -> None:
    make_service("shop")
    stranger = Access(
        actor=Actor(kind=ActorKind.TOKEN, name="t"), scopes=frozenset({Scope.DEPLOY}), services=frozenset()
    )

    with pytest.raises(NotFound):
        request_sync(access=stranger, service_name="shop")
    assert queued() == 0


def test_a_request_during_a_sync_makes_another_one_afterwards() -> None:
    service = make_service("shop")
    assert begin(service.pk)
    request_sync(access=SYSTEM_ACCESS, service_name="shop")
    assert not begin(service.pk)

    end(service.pk)

    assert queued() == 2
    assert begin(service.pk)


def test_what_was_never_synced_is_due() -> None:
    make_service("shop")

    assert enqueue_due_syncs() == 1
    assert enqueue_due_syncs() == 0


def test_what_was_synced_lately_is_not_due() -> None:
    service = make_service("shop")
    sync_service(service.pk)

    assert enqueue_due_syncs() == 0

    Service.objects.update(synced_at=Now() - timedelta(seconds=601))
    assert enqueue_due_syncs() == 1


def test_a_service_may_be_left_out_of_the_schedule() -> None:
    make_service("shop", sync_enabled=False)

    assert not due_services().exists()


def test_a_lost_message_is_sent_again() -> None:
    make_service("shop")
    enqueue_due_syncs()
    Service.objects.update(sync_queued_at=Now() - timedelta(minutes=3))

    assert enqueue_due_syncs() == 1


def test_a_sync_whose_worker_died_is_begun_again() -> None:
    service = make_service("shop")
    begin(service.pk)
    assert not due_services().exists()

    Service.objects.update(sync_started_at=Now() - timedelta(minutes=7))

    assert due_services().exists()
    assert begin(service.pk)


@pytest.mark.django_db(transaction=True)
def test_the_task_leaves_its_worker_free_and_reads_all_the_same() -> None:
    service = make_service("shop")

    tasks.sync_service(service.pk)

    deadline = time.monotonic() + 20
    while Service.objects.get().synced_at is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert Service.objects.get().synced_at is not None
