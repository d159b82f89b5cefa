from __future__ import annotations

import time

import pytest
from django.db import connection

from deploys.models import Lease
from deploys.queue.names import DEPLOYS
from deploys.worker import leases
from deploys.worker.heartbeat import Heartbeat

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)


def test_it_renews_its_lease_until_stopped() -> None:
    lease = leases.create_lease("web-1", DEPLOYS)
    created = Lease.objects.get().expires_at
    heartbeat = Heartbeat(lease.pk)
    heartbeat.start()
    time.sleep(0.5)
    heartbeat.stop()
    renewed = Lease.objects.get().expires_at
    time.sleep(0.2)

    assert renewed > created
    assert Lease.objects.get().expires_at == renewed
    assert not heartbeat.lost


def test_it_tells_when_the_lease_is_gone() -> None:
    heartbeat = Heartbeat(leases.create_lease("web-1", DEPLOYS).pk)
    heartbeat.start()
    Lease.objects.all().delete()
    time.sleep(0.5)
    heartbeat.stop()

    assert heartbeat.lost


def test_a_cut_connection_only_delays_it() -> None:
    lease = leases.create_lease("web-1", DEPLOYS)
    heartbeat = Heartbeat(lease.pk)
    heartbeat.start()
    time.sleep(0.3)
    cut_the_other_connections()
    before = leases.live_leases(worker_name="web-1", queue=DEPLOYS).get().expires_at
    time.sleep(1.2)
    heartbeat.stop()

    assert Lease.objects.get().expires_at > before
    assert not heartbeat.lost


def cut_the_other_connections() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
