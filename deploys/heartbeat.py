"""Keeps a lease alive while its drive works."""

from __future__ import annotations

import logging
import threading

from django.db import connection

from deploys import leases
from deploys.listener import CONNECTION_ERRORS

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class Heartbeat:
    """A thread with a database connection of its own that renews one lease until stopped.

    It tries on through a database outage. `lost` turns true, for good, when the lease row is gone.
    """

    def __init__(self, lease_id: int) -> None:
        self.lost = False
        self._lease_id = lease_id
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{lease_id}", daemon=True)

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
        """False when the database could not be asked."""
        try:
            alive = leases.renew(self._lease_id)
        except CONNECTION_ERRORS as error:
            logger.warning("lease %d: the database is away, trying on: %s", self._lease_id, error)
            connection.close()
            return False
        self.lost = self.lost or not alive
        return True
