"""How long a work loop waits between two claims, while nodes end one after the other.

A claim looks at all that waits: it costs about the same for one node as for many, so what ends is not replaced one by one. With
thousands of targets waiting it costs many times as much. What is beyond a millisecond for each node that it brings shall take a
fifth of the time at the most; but slots never stay free for it longer than LONGEST_SECONDS.
"""

from __future__ import annotations

SHORTEST_SECONDS = 0.03
LONGEST_SECONDS = 0.25
SECONDS_A_NODE = 0.001
PART = 5


class ClaimPace:
    def __init__(self) -> None:
        self.pause_seconds = SHORTEST_SECONDS

    def took(self, seconds: float, *, nodes: int) -> None:
        """The claim before, and how many nodes it has brought."""
        pause = (PART - 1) * (seconds - SECONDS_A_NODE * nodes)
        self.pause_seconds = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, pause))
