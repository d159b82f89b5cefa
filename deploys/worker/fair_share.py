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


def shared_out(
    waiting: Mapping[int, Sequence[T]], *, held: Mapping[int, int], free: int, most: int, at_once: int
) -> list[T]:
    """Up to at_once of what waits, by service: one by one, each the first of the service that then holds the fewest.

    held: how many slots each service has. Services come in the order of `waiting` when they hold as many.
    """
    taken: list[T] = []
    holds = Counter(held)
    queues = {service: list(reversed(each)) for service, each in waiting.items() if each}
    while queues and len(taken) < at_once:
        service = min(queues, key=lambda each: holds[each])
        if not may_take(held=holds[service], free=free - len(taken), most=most):
            break  # nobody holds fewer
        taken.append(queues[service].pop())
        holds[service] += 1
        if not queues[service]:
            del queues[service]
    return taken
