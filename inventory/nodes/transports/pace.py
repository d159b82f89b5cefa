"""How fast a call is read: what it prints costs the one event loop that all nodes of a process share.

Output is decrypted, taken apart and looked through for secrets there. Whoever prints much is read in turns, with rests
between that are longer than the turns, and the longer the more there are of its kind: so all of them together leave
most of the loop to the others. On the node the command waits meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from inventory.nodes.transports.flow import Flow

# Of a call's own: few calls ever use it up.
FREE_SECONDS = 0.1
TURN_SECONDS = 0.05
# A rest is as long as the turn before it, and so many times longer for each other call that rests: one alone may have half of
# the loop, all that there are a third.
REST = 3
LONGEST_REST_SECONDS = 10.0
# What is spent before a chunk comes here.
SECONDS_A_CHUNK = 50e-6
SECONDS_A_BYTE = 1e-8


class Pace:
    """Of one call; it holds the call's flow."""

    _resting: WeakKeyDictionary[asyncio.AbstractEventLoop, set[Pace]] = WeakKeyDictionary()

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._spent_seconds = -FREE_SECONDS

    @contextmanager
    def taking(self, size_bytes: int) -> Iterator[None]:
        """Around the work on a chunk of output."""
        # Not the processor's time: on a busy machine a turn takes the longer from the others.
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent_seconds += time.perf_counter() - began + SECONDS_A_CHUNK + size_bytes * SECONDS_A_BYTE
            if self._spent_seconds >= TURN_SECONDS:
                self._rest()

    def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        resting = self._resting.setdefault(loop, set())
        if self in resting:
            return
        seconds = min(self._spent_seconds * (1 + REST * len(resting)), LONGEST_REST_SECONDS)
        resting.add(self)
        self._flow.hold(self)
        self._spent_seconds = 0.0
        loop.call_later(seconds, self._go_on, resting)

    def _go_on(self, resting: set[Pace]) -> None:
        resting.discard(self)
        self._flow.release(self)
