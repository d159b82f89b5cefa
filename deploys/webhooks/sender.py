"""Sends what is due, as a chore of a worker host's supervisor: one try a webhook at a time, each within its deadline.

No thread of a try has a connection to the database, and the chore's own thread waits for no receiver.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import UTC, datetime

from deploys.measures import WEBHOOK_TRIES
from deploys.webhook_models import WebhookDelivery
from deploys.webhooks.bodies import message
from deploys.webhooks.claims import claim, mark
from deploys.webhooks.exchange import DEADLINE_SECONDS, Answer, exchange

logger = logging.getLogger(__name__)

# Of one worker host. Receivers that did not answer last time take none of the reserve: the others always begin at once.
MOST_AT_ONCE = 32
RESERVE = 8
TURN_SECONDS = 0.8
LEAVE_SECONDS = 0.8


class Sender:
    """Of one thread: `turn` again and again, then `leave`."""

    def __init__(self, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._deadline_seconds = deadline_seconds
        self._tries: dict[Future[Answer], WebhookDelivery] = {}

    def turn(self) -> None:
        """Claim, send and mark for less than a second; returns at once when there is nothing to do."""
        until = time.monotonic() + TURN_SECONDS
        while True:
            self._mark_ended()
            self._begin()
            left = until - time.monotonic()
            if not self._tries or left <= 0:
                return
            wait(self._tries, timeout=left, return_when=FIRST_COMPLETED)

    def leave(self) -> None:
        """Mark what ends soon. The rest may have arrived; it is sent once more when its claim has ended."""
        wait(self._tries, timeout=LEAVE_SECONDS)
        self._mark_ended()

    def _mark_ended(self) -> None:
        for ended in [each for each in self._tries if each.done()]:
            delivery, answer = self._tries[ended], ended.result()
            is_ours = mark(delivery, answer)
            WEBHOOK_TRIES.add("failed" if answer.error else "delivered")
            # Only now: a database that is away is asked again.
            del self._tries[ended]
            if is_ours and answer.error:
                what = "Webhook '%s': delivery %s, try %d: %s"
                logger.warning(what, delivery.webhook, delivery.message_id, delivery.attempts, answer.error)

    def _begin(self) -> None:
        busy = [delivery.webhook_id for delivery in self._tries.values()]
        free = MOST_AT_ONCE - len(busy)
        self._start(claim(busy=busy, most=free, is_silent=False))
        free = MOST_AT_ONCE - len(self._tries)
        self._start(claim(busy=busy, most=free - RESERVE, is_silent=True))

    def _start(self, deliveries: Sequence[WebhookDelivery]) -> None:
        for delivery in deliveries:
            future: Future[Answer] = Future()
            self._tries[future] = delivery
            # Not of an executor: an interpreter that ends would wait for its threads.
            threading.Thread(target=self._attempt, args=(future, delivery), name="webhook", daemon=True).start()

    def _attempt(self, future: Future[Answer], delivery: WebhookDelivery) -> None:
        try:
            sent = message(delivery, now=datetime.now(UTC))
            future.set_result(exchange(delivery.webhook, sent, deadline_seconds=self._deadline_seconds))
        except Exception:
            logger.exception("Delivery %s could not be sent", delivery.message_id)
            future.set_result(Answer(error="An error of ours: see the worker's log."))
