from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django_q.models import OrmQ

from deploys.host import probe
from deploys.host.probe import QueueProbe
from deploys.queue.broker import NotifyBroker
from deploys.queue.names import DEPLOYS, ROLLBACKS, inbox
from deploys.worker import leases

pytestmark = pytest.mark.django_db


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(probe, "time", clock)
    yield clock


@pytest.fixture
def watch(clock: Clock) -> QueueProbe:
    return QueueProbe(queue=DEPLOYS, worker_name="web-1")


def test_it_sends_one_canary_at_a_time_to_its_own_cluster(watch: QueueProbe, clock: Clock) -> None:
    look_for(watch, clock, seconds=10)

    assert [message.key for message in OrmQ.objects.all()] == [inbox(DEPLOYS, "web-1")]


def test_it_sends_the_next_when_the_last_was_acknowledged(watch: QueueProbe, clock: Clock) -> None:
    look_for(watch, clock, seconds=2)
    first = acknowledge()
    look_for(watch, clock, seconds=probe.EVERY_SECONDS + 1)

    assert OrmQ.objects.get().pk > first


def test_a_cluster_that_falls_silent_is_hung(watch: QueueProbe, clock: Clock) -> None:
    look_for(watch, clock, seconds=2)
    acknowledge()
    look_for(watch, clock, seconds=probe.EVERY_SECONDS + probe.HUNG_AFTER_SECONDS - 2)
    assert not watch.is_hung

    look_for(watch, clock, seconds=5)

    assert watch.is_hung


def test_one_that_just_started_gets_more_time(watch: QueueProbe, clock: Clock) -> None:
    look_for(watch, clock, seconds=probe.START_WITHIN_SECONDS - 5)
    assert not watch.is_hung

    look_for(watch, clock, seconds=10)

    assert watch.is_hung


def test_one_whose_every_worker_drives_is_busy(watch: QueueProbe, clock: Clock) -> None:
    for _ in range(settings.WORKERS):
        leases.create_lease("web-1", DEPLOYS)

    look_for(watch, clock, seconds=200)

    assert not watch.is_hung


def test_other_clusters_drives_are_no_excuse(watch: QueueProbe, clock: Clock) -> None:
    for _ in range(settings.WORKERS):
        leases.create_lease("web-1", ROLLBACKS)
        leases.create_lease("web-2", DEPLOYS)

    look_for(watch, clock, seconds=200)

    assert watch.is_hung


def test_time_without_a_look_is_not_held_against_it(watch: QueueProbe, clock: Clock) -> None:
    look_for(watch, clock, seconds=2)
    clock.now += 3600
    watch.look(1)

    assert not watch.is_hung


def test_a_new_incarnation_hands_back_what_the_last_had_taken(clock: Clock) -> None:
    NotifyBroker(DEPLOYS).enqueue("task")
    OrmQ.objects.update(key=inbox(DEPLOYS, "web-1"))

    QueueProbe(queue=DEPLOYS, worker_name="web-1").look(1)

    assert OrmQ.objects.filter(key=DEPLOYS, payload="task").exists()


def look_for(watch: QueueProbe, clock: Clock, *, seconds: float) -> None:
    for _ in range(int(seconds)):
        watch.look(1)
        clock.now += 1


def acknowledge() -> int:
    message_id: int = OrmQ.objects.get().pk
    OrmQ.objects.all().delete()
    return message_id
