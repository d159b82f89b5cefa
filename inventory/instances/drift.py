"""Who is told of instances that have come to run what is not expected. inventory knows nobody: `deploys` listens."""

from __future__ import annotations

from collections.abc import Sequence


class Listener:
    """Nobody listens."""

    def drifted(self, instances: Sequence[int]) -> None:
        """Called in the transaction that has written it. instances: their primary keys."""


listener = Listener()
