"""How fast one server is logged in to. sshd turns away whom it has no turn for (MaxStartups, 10 at once unless set otherwise).

Who is turned away comes again after a pause, and fewer come at once from then on. Other processes log in there too, so
that there is no telling beforehand how many may.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

LOGINS_AT_ONCE = 8
# How long a server that turns us away is tried: one that says why; one that only closes, which may as well be broken.
FULL_SECONDS = 20.0
CLOSED_SECONDS = 3.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.5
_FULL = (b"Exceeded MaxStartups", b"Not allowed at this time")


class TurnedAway(OSError):
    """The server closed the connection before it said who it is. patience_seconds: how long to try again."""

    def __init__(self, said: bytes = b"") -> None:
        is_full = said.startswith(_FULL)
        self.patience_seconds = FULL_SECONDS if is_full else CLOSED_SECONDS
        super().__init__(
            "it takes no further login for now (MaxStartups)" if is_full else "it closes each connection at once"
        )


def check_greeting(said: bytes) -> None:
    """Raises TurnedAway for the first bytes of a server that has no turn for us."""
    if not said or said.startswith(_FULL):
        raise TurnedAway(said)


class LoginLimit:
    """Of one server and one event loop."""

    def __init__(self) -> None:
        self._most = LOGINS_AT_ONCE
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def log_in(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` gives, tried again while it raises TurnedAway. Raises what it raises."""
        began, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            async with self._turn():
                try:
                    return await attempt()
                except TurnedAway as error:
                    self._most = max(1, self._most // 2)
                    began = began or time.monotonic()
                    if time.monotonic() - began > error.patience_seconds:
                        raise
            # Not all at the same moment again.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def give_up(self, error: OSError) -> None:
        """The server can't be reached: those who wait for a turn need not find out one after the other."""
        while self._waiting:
            _settle(self._waiting.popleft(), error)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        while self._inside >= self._most:
            await self._wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._wake()

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


def _settle(turn: asyncio.Future[None], error: OSError) -> None:
    if not turn.done():
        turn.set_exception(error)
