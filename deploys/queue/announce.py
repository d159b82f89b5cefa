"""How work is announced: messages to idle workers, and a notification to work loops that run already."""

from __future__ import annotations

from django.db import connection
from django_q.tasks import async_task

from deploys.queue.names import QUEUE_OF, QueueName, work_channel
from deploys.states import Kind


def enqueue_work(*, queue: QueueName, operation_id: int, messages: int = 1) -> None:
    """Wakes up to `messages` idle workers of the queue, and every running work loop.

    Called in the transaction that makes the work: the messages become visible with it, or not at all.
    """
    for _ in range(messages):
        async_task("deploys.tasks.drive", operation_id, cluster=queue)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [work_channel(queue), str(operation_id)])


def notify_stop(kind: Kind) -> None:
    """Tell the running work loops, when this commits, that some of their targets are asked to stop."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, 'stop')", [work_channel(QUEUE_OF[kind])])
