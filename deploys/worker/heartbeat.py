"""Keeps a lease alive while its work loop runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import connection

from deploys.models import Worker
from deploys.operations.database_trouble import tell_if_short, tell_trouble
from deploys.queue.worker_name import this_worker
from deploys.worker import leases
from inventory.database.outage import Patience, is_short_of_connections

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
# A renewal is one small statement. One that takes so long leaves little of a lease.
SLOW_SECONDS = 3.0


class Heartbeat:
    """A thread with a database connection of its own that renews one lease until stopped.

    It tries on through a database outage. `lost` turns true, for good, when the lease row is gone. It renews nothing
    while `is_sound` says that the work loop hangs: then its targets are reassigned. A database that is short of
    connections, or slow to renew, is told on the worker's row.
    """

    def __init__(self, lease_id: int, *, is_sound: Callable[[], bool] = lambda: True) -> None:
        self.lost = False
        self._renewed_at = time.monotonic()
        self._lease_id = lease_id
        self._is_sound = is_sound
        self._patience = Patience(f"lease {lease_id}")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{lease_id}", daemon=True)

    @property
    def is_timely(self) -> bool:
        """The lease still runs, as far as is known here: nothing more is to be claimed under one that does not."""
        return time.monotonic() - self._renewed_at < leases.LEASE_SECONDS

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def _beat(self) -> None:
        try:
            pause: float = leases.HEARTBEAT_SECONDS
            while not self._stopping.wait(pause):
                pause = leases.HEARTBEAT_SECONDS if self._renew() else RETRY_SECONDS
        finally:
            connection.close()

    def _renew(self) -> bool:
        """False when it is to be tried again soon: the database could not be asked, or the work loop hangs."""
        if not self._is_sound():
            logger.error("lease %d: the work loop hangs, not renewed", self._lease_id)
            return False
        began = time.monotonic()
        try:
            alive = self._patience.attempt(lambda: leases.renew(self._lease_id))
            if alive:
                self._renewed_at = time.monotonic()
                self._tell_of_trouble(seconds=self._renewed_at - began)
        except Exception:
            logger.exception("lease %d: not renewed, trying again", self._lease_id)
            connection.close()
            return False
        self.lost = self.lost or alive is False
        return alive is not None

    def _tell_of_trouble(self, *, seconds: float) -> None:
        self._patience.attempt(lambda: tell_if_short(this_worker()))
        if not is_short_of_connections() and seconds > SLOW_SECONDS:
            self._patience.attempt(lambda: tell_trouble(this_worker(), Worker.Trouble.SLOW))
