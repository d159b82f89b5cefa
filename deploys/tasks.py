"""The functions that queue messages name. Their paths and arguments are stable: messages outlive an upgrade."""

from __future__ import annotations

from django.db.models.functions import Now
from django_q.conf import Conf

from deploys.models import Worker
from deploys.queue import pausing
from deploys.worker import prewarm
from deploys.worker.work_loop import run as run_work_loop


def drive(operation_id: int) -> None:
    """operation_id is why we were woken; a work loop works on whatever its queue has to claim.

    On a paused host the message is spent for nothing: when the pause ends, the reaper sends others.
    """
    if pausing.is_paused():
        return
    run_work_loop(Conf.CLUSTER_NAME)


def warm(node_pks: list[int]) -> None:
    """Have connections to these nodes, for a rollback that may come."""
    prewarm.warm(node_pks)


def canary(worker_id: int, n: int) -> None:
    """The n-th proof that a cluster of this worker still executes what it is sent."""
    Worker.objects.filter(pk=worker_id).update(canary_at=Now())
