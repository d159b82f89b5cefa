"""Turns at slow work that a process does a bounded number of at once: so many in all, so many for each place."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field

from deploys.worker.fair_share import may_take


@dataclass(eq=False, kw_only=True)
class Turn:
    """granted: done as soon as the work may begin."""

    service: int
    place: str
    granted: Future[None] = field(default_factory=Future)


class Turns:
    """For any thread. The next turn is that of the service with the fewest; of several, of whoever asked first."""

    def __init__(self, *, most: int, most_at_a_place: int | None = None) -> None:
        self.most = most
        self.most_at_a_place = most_at_a_place or most
        self._lock = threading.Lock()
        self._waiting: list[Turn] = []
        self._begun: list[Turn] = []

    def ask(self, *, service: int, place: str = "") -> Turn:
        """Every turn asked for is ended at last, whether it was granted or not."""
        turn = Turn(service=service, place=place)
        turn.granted.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append(turn)
            self._grant()
        return turn

    def end(self, turn: Turn) -> None:
        with self._lock:
            for turns in (self._waiting, self._begun):
                if turn in turns:
                    turns.remove(turn)
            self._grant()

    def begun(self, place: str | None = None) -> int:
        """How many are going on, there or everywhere."""
        with self._lock:
            return sum(place in (None, each.place) for each in self._begun)

    def _grant(self) -> None:
        while (turn := self._next()) is not None:
            self._waiting.remove(turn)
            self._begun.append(turn)
            turn.granted.set_result(None)

    def _next(self) -> Turn | None:
        holds = Counter(turn.service for turn in self._begun)
        first = {(turn.service, turn.place): turn for turn in reversed(self._waiting)}
        ready = [turn for turn in self._waiting if first[turn.service, turn.place] is turn and self._may_begin(turn)]
        return min(ready, key=lambda turn: holds[turn.service], default=None)

    def _may_begin(self, turn: Turn) -> bool:
        there = [each for each in self._begun if each.place == turn.place]
        return _has_room(turn, self._begun, self.most) and _has_room(turn, there, self.most_at_a_place)


def _has_room(turn: Turn, begun: list[Turn], most: int) -> bool:
    held = sum(each.service == turn.service for each in begun)
    return may_take(held=held, free=most - len(begun), most=most)
