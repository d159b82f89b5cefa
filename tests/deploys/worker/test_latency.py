from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from deploys.queue.broker import POLL_SECONDS
from deploys.queue.names import DEPLOYS, ROLLBACKS
from tests.support.probe import await_execution, send_probe
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


@pytest.mark.parametrize("queue", [DEPLOYS, ROLLBACKS])
def test_an_idle_worker_begins_at_the_notification_not_at_the_next_poll(queue: str, tmp_path: Path) -> None:
    with running_worker():
        latencies = [latency(queue, tmp_path / str(number)) for number in range(20)]

    print(f"commit to start: median {statistics.median(latencies) * 1000:.1f} ms, max {max(latencies) * 1000:.1f} ms")
    assert statistics.median(latencies) < POLL_SECONDS / 10


def latency(queue: str, path: Path) -> float:
    """Seconds from the message's commit to the task's first line."""
    send_probe(queue, path)
    committed_at = time.time()
    return await_execution(path, within_seconds=10).at - committed_at
