"""How work is announced: hints to idle workers, and a notification to drives that run already."""

from __future__ import annotations

from django.db import connection
from django_q.tasks import async_task

from deploys.queue.names import QUEUE_OF, QueueName, work_channel
from deploys.states import Kind


def enqueue_drive(*, queue: QueueName, operation_id: int, hints: int = 1) -> None:
    """Wakes up to `hints` idle workers of the queue, and every running drive.

    Called in the transaction that makes the work: the hints become visible with it, or not at all.
    """
    for _ in range(hints):
        async_task("deploys.tasks.drive", operation_id, cluster=queue)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [work_channel(queue), str(operation_id)])


def notify_stop(kind: Kind) -> None:
    """Tell the drives at work, when this commits, that some of their targets are asked to stop."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, 'stop')", [work_channel(QUEUE_OF[kind])])
