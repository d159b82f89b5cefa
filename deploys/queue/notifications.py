"""Wake a running work loop when new work, or a request to stop, is committed."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from deploys.queue.listener import Listener
from deploys.queue.names import work_channel
from inventory.database.outage import Patience

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
# A work loop that is over by then needs no connection for it, whose opening would take from its own time.
LISTEN_AFTER_SECONDS = 0.05


class Wakeups:
    """Sets `event` on its loop at each notification, and once when it begins to listen, for what was said before.

    Losing one costs a second: the work loop also looks by itself.
    """

    def __init__(self, queue: str, event: asyncio.Event) -> None:
        self._listener = Listener(work_channel(queue))
        self._patience = Patience("notifications", close=self._listener.close)
        self._event = event
        self._loop = asyncio.get_running_loop()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._listen, name=f"wakeups-{queue}", daemon=True)

    def start(self) -> None:
        """To be called on its loop."""
        self._starting = self._loop.call_later(LISTEN_AFTER_SECONDS, self._thread.start)

    def stop(self) -> None:
        """Returns at once; the thread ends within its wait."""
        self._is_stopping = True
        self._starting.cancel()

    def _listen(self) -> None:
        self._wait(timeout_seconds=0)
        self._wake()
        while not self._is_stopping:
            is_notified = self._wait(timeout_seconds=WAIT_SECONDS)
            if is_notified is None:
                time.sleep(WAIT_SECONDS)
            elif is_notified:
                self._wake()
        self._listener.close()

    def _wake(self) -> None:
        if not self._is_stopping:
            self._loop.call_soon_threadsafe(self._event.set)

    def _wait(self, *, timeout_seconds: float) -> bool | None:
        """None when nothing can be heard for now."""
        try:
            return self._patience.attempt(lambda: self._listener.wait(timeout_seconds=timeout_seconds))
        except Exception:
            logger.exception("notifications: trying again")
            self._listener.close()
            return None
