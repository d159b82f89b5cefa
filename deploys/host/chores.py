"""What a supervisor does in the database, in a thread, so that a database that hangs never delays a stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import connection

from inventory.database.outage import Patience

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5


@dataclass(kw_only=True)
class Chore:
    name: str
    every_seconds: float
    run: Callable[[], object]
    due_at: float = field(default=0.0, init=False)


class ChoreThread(threading.Thread):
    """Runs each chore at its interval, one after the other, until stopped; then `at_the_end`, once.

    A chore may fail in any way: it is logged and comes again. A database outage is logged when it starts and ends.
    """

    def __init__(self, name: str, chores: Sequence[Chore], *, at_the_end: Callable[[], object] | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self._chores = chores
        self._at_the_end = at_the_end
        self._stopping = threading.Event()
        self._patience = Patience(name)

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            for chore in self._chores:
                self._run_when_due(chore)
            self._stopping.wait(TICK_SECONDS)
        if self._at_the_end is not None:
            self._attempt("leaving", self._at_the_end)
        connection.close()

    def _run_when_due(self, chore: Chore) -> None:
        if time.monotonic() < chore.due_at or self._stopping.is_set():
            return
        self._attempt(chore.name, chore.run)
        chore.due_at = time.monotonic() + chore.every_seconds

    def _attempt(self, name: str, run: Callable[[], object]) -> None:
        try:
            self._patience.attempt(run)
        except Exception:
            connection.close()
            logger.exception("%s failed; it is tried again", name)
