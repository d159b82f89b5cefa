"""django-q2's ORM broker on PostgreSQL: wakes by NOTIFY, takes by SKIP LOCKED, and outlives a lost database.

A message is only a notification: what there is to do stands in our own rows, and the reaper sends another for work
nobody holds. So a message may be lost or come twice.

Taking a message moves it from its queue (`key` = "deploys") to the taker's inbox ("deploys@worker-name"), where it
stays until it is acknowledged. What is still there when a cluster is started anew goes back to the queue; what a worker
process that died alone had taken does not, so a task that kills its worker does not kill the next one. A message put
into an inbox by `enqueue` is taken by that worker's cluster alone: the queue probe goes that way.
"""

from __future__ import annotations

import logging

from django.db import connection, connections
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

from deploys.queue import draining
from deploys.queue.lazy_commit import LAZILY
from deploys.queue.listener import Listener
from deploys.queue.names import inbox, queue_channel
from deploys.queue.worker_name import this_worker
from inventory.database.outage import Patience, is_outage

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0  # How late a message is seen whose notification was lost.
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 1.0  # Short: between two tries the pusher looks whether it is to stop.

INSERT = """
WITH message AS (INSERT INTO django_q_ormq (key, payload, lock) VALUES (%s, %s, now()) RETURNING id)
SELECT id, pg_notify(%s, '') FROM message
"""
TAKE = f"""
UPDATE django_q_ormq SET key = %s, lock = now() + make_interval(secs => %s)
FROM {LAZILY}
WHERE id = ANY (ARRAY(
    SELECT id FROM django_q_ormq WHERE key IN (%s, %s) AND lock <= now() ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
))
RETURNING id, payload
"""  # noqa: S608 - only constants are spliced in
HAND_BACK = """
WITH handed_back AS (
    UPDATE django_q_ormq SET key = split_part(key, '@', 1), lock = now() WHERE {condition} RETURNING key
)
SELECT pg_notify(%s || key, '') FROM handed_back
"""
NOBODYS = """
key LIKE '%%@%%' AND split_part(key, '@', 2) NOT IN (
    SELECT name FROM deploys_worker WHERE seen_at > now() - make_interval(secs => %s)
)
"""


def requeue(queue: str, worker_name: str) -> None:
    """Returns what that worker's cluster had taken to its queue, for whoever is free."""
    with connection.cursor() as cursor:
        cursor.execute(HAND_BACK.format(condition="key = %s"), [inbox(queue, worker_name), queue_channel("")])


def requeue_of_the_vanished(*, unseen_seconds: float) -> None:
    """The same for all workers that are gone or were not seen for so long. One that lives on does no harm."""
    with connection.cursor() as cursor:
        cursor.execute(HAND_BACK.format(condition=NOBODYS), [unseen_seconds, queue_channel("")])


class NotifyBroker(ORM):  # type: ignore[misc]
    """The locks use the database's clock alone."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key=list_key or Conf.CLUSTER_NAME)
        queue, _, worker_name = self.list_key.partition("@")
        self._inbox = inbox(queue, worker_name or this_worker())
        self._channel = queue_channel(queue)
        self._listener = Listener(self._channel, alias=Conf.ORM)
        self._patience = Patience(
            f"queue {self.list_key}",
            first_pause_seconds=FIRST_RETRY_SECONDS,
            longest_pause_seconds=LAST_RETRY_SECONDS,
            close=self._close_connections,
        )

    def enqueue(self, task: str) -> int:
        """Stores the message and its notification in the caller's transaction, if there is one."""
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute(INSERT, [self.list_key, task, self._channel])
            message_id: int = cursor.fetchone()[0]
        return message_id

    def dequeue(self) -> list[tuple[int, str]]:
        """Waits up to POLL_SECONDS for messages. Never raises for a database that is away: it waits and is empty."""
        messages = self._patience.attempt(self._next)
        if messages is None:
            self._patience.pause()
        return messages or []

    def _next(self) -> list[tuple[int, str]]:
        self._listener.listen()
        messages = self._take()
        if not messages and self._listener.wait(timeout_seconds=POLL_SECONDS):
            messages = self._take()
        return messages

    def acknowledge(self, task_id: int) -> None:
        """Waits for a database that is away, as long as this host is not to stop.

        django-q2's monitor would die of the error; the message would stay, and the cluster be taken for hung.
        """
        acknowledge = super().acknowledge
        try:
            self._patience.insist(lambda: acknowledge(task_id), gives_up=draining.is_draining)
        except Exception as error:
            if not is_outage(error):
                logger.exception("queue %s: message %d is not acknowledged", self.list_key, task_id)
            # It comes again, which does no harm.

    def close(self) -> None:
        self._listener.close()

    def lock_size(self) -> int:
        """How many messages have been taken and not yet acknowledged."""
        taken: int = OrmQ.objects.using(Conf.ORM).filter(key__startswith=f"{self.list_key}@").count()
        return taken

    def _take(self) -> list[tuple[int, str]]:
        """A crash of PostgreSQL may give a message back, and a message may come twice."""
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute(TAKE, [self._inbox, Conf.RETRY, self.list_key, self._inbox, Conf.BULK])
            messages: list[tuple[int, str]] = cursor.fetchall()
        return messages

    def _close_connections(self) -> None:
        self._listener.close()
        connections[Conf.ORM].close()
