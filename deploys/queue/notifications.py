"""Wake a running drive when new work, or a request to stop, is committed."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from deploys.queue.listener import CONNECTION_ERRORS, Listener
from deploys.queue.names import work_channel

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0


class Wakeups:
    """Sets `event` on its loop at each notification. Losing one costs a second: the drive also looks by itself."""

    def __init__(self, queue: str, event: asyncio.Event) -> None:
        self._listener = Listener(work_channel(queue))
        self._event = event
        self._loop = asyncio.get_running_loop()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._listen, name=f"wakeups-{queue}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns at once; the thread ends within its wait."""
        self._is_stopping = True

    def _listen(self) -> None:
        while not self._is_stopping:
            try:
                if self._listener.wait(timeout_seconds=WAIT_SECONDS) and not self._is_stopping:
                    self._loop.call_soon_threadsafe(self._event.set)
            except CONNECTION_ERRORS as error:
                logger.warning("Notifications are away, trying on: %s", error)
                self._listener.close()
                time.sleep(WAIT_SECONDS)
        self._listener.close()
