"""A worker process's one event loop, in a thread of its own: its connections to nodes stay warm all the while."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from deploys.node import calls
from inventory.nodes.transports.pool import ConnectionPool

T = TypeVar("T")

# A target's work makes thousands of objects that live for seconds, and thousands of warm connections have millions: at Python's
# own 700 all of them are looked at every hundred targets or so, which is a fifth of a large deploy's processor time.
YOUNG_OBJECTS, YOUNG, MIDDLE = 10_000, 10, 10


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on this process's event loop and wait for its result, from any other thread."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()


def start(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it on this process's event loop, and don't wait for it. It must not raise."""
    asyncio.run_coroutine_threadsafe(coroutine, _loop())


@cache
def connection_pool() -> ConnectionPool:
    """This process's warm connections; to be used on its event loop alone."""
    return ConnectionPool(standby=calls.node_program())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    # Made at the first use, not at import: a loop does not survive the fork that makes a worker process.
    gc.set_threshold(YOUNG_OBJECTS, YOUNG, MIDDLE)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="event-loop", daemon=True).start()
    return loop
