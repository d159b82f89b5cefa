from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from rest_framework.test import APIClient

from deploys.models import Lease, Worker


def ready() -> tuple[int, str]:
    answer = APIClient().get("/readyz")
    return answer.status_code, answer.json().get("status") or answer.json()["errors"][0]["code"]


def beat(*, seen_seconds_ago: int = 0, canary_seconds_ago: int | None = 0) -> None:
    canary_at = None if canary_seconds_ago is None else Now() - timedelta(seconds=canary_seconds_ago)
    Worker.objects.create(
        name="host-1", host="host-1", pid=1, seen_at=Now() - timedelta(seconds=seen_seconds_ago), canary_at=canary_at
    )


def test_without_a_worker_the_system_is_not_ready(db: None) -> None:
    assert ready() == (503, "no_worker")


def test_with_a_worker_it_is_ready(db: None) -> None:
    beat()

    assert ready() == (200, "ok")


def test_a_worker_that_has_gone_silent_does_not_count(db: None) -> None:
    beat(seen_seconds_ago=20)

    assert ready() == (503, "no_worker")


@pytest.mark.parametrize("canary_seconds_ago", [None, 90])
def test_a_worker_whose_cluster_executes_nothing_does_not_count(db: None, canary_seconds_ago: int | None) -> None:
    beat(canary_seconds_ago=canary_seconds_ago)

    assert ready() == (503, "no_worker")


def test_a_worker_on_a_long_drive_counts_without_a_canary(db: None) -> None:
    beat(canary_seconds_ago=90)
    Lease.objects.create(worker="host-1", queue="deploys", expires_at=Now() + timedelta(seconds=6))

    assert ready() == (200, "ok")
