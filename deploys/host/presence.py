"""The row that shows a worker host is there."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from deploys.models import Worker
from deploys.operations.database_trouble import tell_if_short
from deploys.queue.broker import requeue, requeue_of_the_vanished
from deploys.queue.names import QUEUES

FORGOTTEN_AFTER = timedelta(hours=1)
GONE_AFTER_SECONDS = 120.0


def beat(name: str, *, is_paused: bool = False) -> int:
    """The row's primary key; creates the row when it isn't there. Tells when this process was refused a connection."""
    said = {"version": settings.VERSION, "is_paused": is_paused}
    if not Worker.objects.filter(name=name).update(seen_at=Now(), **said):
        Worker.objects.create(name=name, host=socket.gethostname(), pid=os.getpid(), **said)
    tell_if_short(name)
    return Worker.objects.values_list("pk", flat=True).get(name=name)


def leave(name: str) -> None:
    Worker.objects.filter(name=name).delete()
    for queue in QUEUES:
        requeue(queue, name)


def clear_after_the_vanished() -> None:
    """Requeues the messages that dead hosts had taken; drops their rows when there is nothing more to see in them."""
    requeue_of_the_vanished(unseen_seconds=GONE_AFTER_SECONDS)
    Worker.objects.filter(seen_at__lt=Now() - FORGOTTEN_AFTER).delete()
