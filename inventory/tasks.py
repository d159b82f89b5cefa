"""The functions that queue messages name. Their paths and arguments are stable: messages outlive an upgrade."""

from __future__ import annotations

import logging
from threading import BoundedSemaphore, Thread

from django.db import connection

from inventory.instances.sync import sync_service as read_service

logger = logging.getLogger(__name__)

_AT_ONCE = BoundedSemaphore(2)


def sync_service(service_id: int) -> None:
    """Returns at once and reads in a thread: a rollback must never wait for a worker that waits for slow nodes."""
    Thread(target=_read, args=(service_id,), name=f"sync-{service_id}", daemon=True).start()


def _read(service_id: int) -> None:
    with _AT_ONCE:
        try:
            read_service(service_id)
        except Exception:
            logger.exception("The sync of service %d failed.", service_id)
        finally:
            connection.close()
