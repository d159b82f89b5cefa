"""FAULTS.md 9, 14, 15: what may happen to a message, and to the broker's connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from unittest import mock

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from deploys.models import Lease, Worker
from deploys.queue.broker import POLL_SECONDS, NotifyBroker, requeue, requeue_of_the_vanished
from deploys.queue.names import DEPLOYS, inbox
from deploys.worker import leases

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Iterator[NotifyBroker]:
    broker = NotifyBroker(DEPLOYS)
    yield broker
    broker.close()


def test_it_wakes_by_notification(broker: NotifyBroker) -> None:
    broker.dequeue()
    sender = enqueue_later(0.2)

    started = time.monotonic()
    assert [payload for _, payload in broker.dequeue()] == ["task"]
    assert time.monotonic() - started < 0.2 + POLL_SECONDS / 2
    sender.join()


def test_it_finds_a_message_whose_notification_was_lost(broker: NotifyBroker) -> None:
    broker.dequeue()
    OrmQ.objects.create(key=DEPLOYS, payload="task", lock=timezone.now())

    started = time.monotonic()
    assert [payload for _, payload in broker.dequeue()] == ["task"]
    assert time.monotonic() - started <= POLL_SECONDS + 0.5


def test_a_message_becomes_visible_with_its_transaction_or_not_at_all(broker: NotifyBroker) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        broker.enqueue("task")
        raise ZeroDivisionError

    assert broker.dequeue() == []


def test_many_takers_take_each_message_once() -> None:
    sent = {str(number) for number in range(40)}
    for payload in sent:
        NotifyBroker(DEPLOYS).enqueue(payload)
    taken: list[str] = []
    takers = [threading.Thread(target=take_all, args=(taken,)) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()

    assert sorted(taken) == sorted(sent)


def test_a_taken_message_is_gone_once_acknowledged(broker: NotifyBroker) -> None:
    broker.enqueue("task")
    ((message_id, _),) = broker.dequeue()
    assert (broker.queue_size(), broker.lock_size()) == (0, 1)

    broker.acknowledge(message_id)

    assert not OrmQ.objects.exists()


def test_a_message_to_one_worker_is_taken_by_no_other(broker: NotifyBroker) -> None:
    NotifyBroker(inbox(DEPLOYS, "elsewhere")).enqueue("canary")

    assert broker.dequeue() == []

    elsewhere = NotifyBroker(inbox(DEPLOYS, "elsewhere"))
    assert len(elsewhere.dequeue()) == 1
    elsewhere.close()


def test_what_a_dead_cluster_had_taken_goes_back_to_the_queue(broker: NotifyBroker) -> None:
    broker.enqueue("task")
    dead = NotifyBroker(inbox(DEPLOYS, "dead"))
    dead.list_key = DEPLOYS
    assert len(dead.dequeue()) == 1
    dead.close()

    requeue(DEPLOYS, "dead")

    assert len(broker.dequeue()) == 1


def test_what_a_vanished_host_had_taken_goes_back_and_a_live_ones_stays(broker: NotifyBroker) -> None:
    Worker.objects.create(name="alive", host="here", pid=1)
    for name in ("alive", "vanished"):
        OrmQ.objects.create(key=inbox(DEPLOYS, name), payload=name, lock=timezone.now() + timedelta(days=8))

    requeue_of_the_vanished(unseen_seconds=60)

    assert [payload for _, payload in broker.dequeue()] == ["vanished"]
    assert OrmQ.objects.filter(key=inbox(DEPLOYS, "alive")).exists()


def test_cut_connections_only_delay_it(broker: NotifyBroker) -> None:
    broker.dequeue()
    cut_all_connections()
    sender = enqueue_later(0.0)

    started = time.monotonic()
    while not (messages := broker.dequeue()):
        assert time.monotonic() - started < 5
    assert [payload for _, payload in messages] == ["task"]
    sender.join()


@pytest.mark.parametrize("shift", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_hosts_wrong_clock_changes_neither_locks_nor_leases(shift: timedelta, broker: NotifyBroker) -> None:
    wrong = timezone.now() + shift
    with mock.patch("django.utils.timezone.now", return_value=wrong), mock.patch("time.time", wrong.timestamp):
        broker.enqueue("task")
        lease = leases.create_lease("web-1", DEPLOYS)
        assert leases.renew(lease.pk)
        assert len(broker.dequeue()) == 1
        assert broker.dequeue() == []

    assert leases.live_leases(worker_name="web-1", queue=DEPLOYS).count() == 1
    remaining = Lease.objects.get().expires_at - timezone.now()
    assert timedelta(seconds=leases.LEASE_SECONDS - 3) < remaining <= timedelta(seconds=leases.LEASE_SECONDS)


def enqueue_later(seconds: float) -> threading.Thread:
    def enqueue() -> None:
        time.sleep(seconds)
        NotifyBroker(DEPLOYS).enqueue("task")
        connection.close()

    thread = threading.Thread(target=enqueue)
    thread.start()
    return thread


def take_all(taken: list[str]) -> None:
    broker = NotifyBroker(DEPLOYS)
    while messages := broker.dequeue():
        taken.extend(payload for _, payload in messages)
    broker.close()
    connection.close()


def cut_all_connections() -> None:
    killer = connection.copy()
    with killer.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    killer.close()
