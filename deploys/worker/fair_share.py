"""How a worker process's slots are shared between services, so that one with much slow work never holds all of them.

Of the last fifth a service takes only as many as it leaves free for others; this is the dynamic threshold by which
switches share a buffer (Choudhury and Hahne, 1998), with a service alone still getting most of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

_SPARE_PART = 5


def may_take(*, held: int, free: int, most: int) -> bool:
    """Whether a service that holds so many of `most` slots, so many of which are free, may take another."""
    return free > _spare(most) or held < free


def _spare(most: int) -> int:
    return most // _SPARE_PART or int(most > 1)


class Slots:
    """A work loop's: each is for one operation's work on one node.

    has_left_some: the last time they were shared out, something had to wait, though there were slots free.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._held: Counter[int] = Counter()
        self.has_left_some = False

    @property
    def free(self) -> int:
        return self._most - self._held.total()

    def take(self, service: int) -> None:
        self._held[service] += 1

    def give_back(self, service: int) -> None:
        self._held[service] -= 1

    def share_out(self, waiting: Mapping[int, Sequence[T]], *, at_once: int) -> list[T]:
        """Up to at_once of what waits, by service: one by one, each the first of the service that then holds the fewest.

        Takes no slot. Services come in the order of `waiting` when they hold as many.
        """
        chosen: list[T] = []
        held = Counter(self._held)
        queues = {service: list(reversed(each)) for service, each in waiting.items() if each}
        while queues and len(chosen) < at_once:
            service = min(queues, key=lambda each: held[each])
            if not may_take(held=held[service], free=self.free - len(chosen), most=self._most):
                break  # nobody holds fewer
            chosen.append(queues[service].pop())
            held[service] += 1
            if not queues[service]:
                del queues[service]
        self.has_left_some = bool(queues) and len(chosen) < at_once
        return chosen
