"""The queues, the kind of operation that each is for, and the channels on which their workers listen."""

from __future__ import annotations

from typing import Literal

from deploys.states import Kind

QueueName = Literal["deploys", "rollbacks"]

DEPLOYS: QueueName = "deploys"
ROLLBACKS: QueueName = "rollbacks"
QUEUES: tuple[QueueName, ...] = (DEPLOYS, ROLLBACKS)
# A rollback never waits behind deploys: it has a queue and workers of its own.
QUEUE_OF: dict[Kind, QueueName] = {Kind.DEPLOY: DEPLOYS, Kind.ROLLBACK: ROLLBACKS}


def work_channel(queue: str) -> str:
    """What running work loops LISTEN on (`deploys.queue.listener.Listener`)."""
    return f"release_work_{queue}"


def queue_channel(queue: str) -> str:
    return f"release_queue_{queue}"


def inbox(queue: str, worker_name: str) -> str:
    return f"{queue}@{worker_name}"[:100]
