"""The row that shows a worker host is there."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now

from deploys.models import Worker

FORGOTTEN_AFTER = timedelta(hours=1)
FORGET_MESSAGES = """
DELETE FROM django_q_ormq
WHERE key LIKE '%@%' AND split_part(key, '@', 2) NOT IN (SELECT name FROM deploys_worker)
"""


def beat(name: str) -> int:
    """The row's primary key; creates the row when it isn't there."""
    if not Worker.objects.filter(name=name).update(seen_at=Now()):
        Worker.objects.create(name=name, host=socket.gethostname(), pid=os.getpid())
    return Worker.objects.values_list("pk", flat=True).get(name=name)


def leave(name: str) -> None:
    Worker.objects.filter(name=name).delete()


def forget_the_vanished() -> None:
    """Drops the rows of worker hosts that died long ago, and the messages that vanished ones took with them."""
    Worker.objects.filter(seen_at__lt=Now() - FORGOTTEN_AFTER).delete()
    with connection.cursor() as cursor:
        cursor.execute(FORGET_MESSAGES)
