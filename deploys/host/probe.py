"""Does a cluster still execute what it is sent? A task is sent through its queue, and its acknowledgement awaited."""

from __future__ import annotations

import time

from django.conf import settings
from django_q.models import OrmQ
from django_q.tasks import async_task

from deploys.queue.broker import NotifyBroker, requeue
from deploys.queue.names import inbox
from deploys.worker.leases import live_leases

EVERY_SECONDS = 5.0
HUNG_AFTER_SECONDS = 15.0
START_WITHIN_SECONDS = 60.0
LONGEST_TICK_SECONDS = 2.0  # Time that passed while we could not look is not held against the cluster.


class ProbeBroker(NotifyBroker):
    """Remembers which message it stored."""

    message_id: int | None = None

    def enqueue(self, task: str) -> int:
        self.message_id = super().enqueue(task)
        return self.message_id


class QueueProbe:
    """Watches one incarnation of one cluster.

    A probe counts as executed once its message is acknowledged: so pusher, queue, a worker and the monitor all work.
    A cluster whose every worker runs a work loop is busy, not hung. One probe is out at a time.
    """

    def __init__(self, *, queue: str, worker_name: str) -> None:
        self.silent_seconds = 0.0
        self._queue = queue
        self._worker_name = worker_name
        self._inbox = inbox(queue, worker_name)
        self._is_new = True
        self._has_answered = False
        self._message_id: int | None = None
        self._number = 0
        self._sent_at = float("-inf")
        self._looked_at = time.monotonic()

    @property
    def is_hung(self) -> bool:
        return self.silent_seconds >= (HUNG_AFTER_SECONDS if self._has_answered else START_WITHIN_SECONDS)

    def look(self, worker_id: int) -> None:
        """Called every second or so. Raises when the database is away, and has then judged nothing."""
        if self._is_new:
            requeue(self._queue, self._worker_name)  # What the incarnation before it had taken.
            self._is_new = False
        if self._message_id is None:
            self._send_when_due(worker_id)
        elif not OrmQ.objects.filter(pk=self._message_id).exists():
            self._message_id, self._has_answered, self.silent_seconds = None, True, 0.0
        elif self._is_busy():
            self.silent_seconds = 0.0
        else:
            self.silent_seconds += min(time.monotonic() - self._looked_at, LONGEST_TICK_SECONDS)
        self._looked_at = time.monotonic()

    def _send_when_due(self, worker_id: int) -> None:
        now = time.monotonic()
        if now - self._sent_at < EVERY_SECONDS:
            return
        self._number += 1
        broker = ProbeBroker(self._inbox)
        async_task("deploys.tasks.canary", worker_id, self._number, broker=broker)
        self._message_id, self._sent_at = broker.message_id, now

    def _is_busy(self) -> bool:
        return live_leases(worker_name=self._worker_name, queue=self._queue).count() >= settings.WORKERS
