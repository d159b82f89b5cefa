"""What operations are doing to the inventory just now. inventory knows none: `deploys` answers, once it is ready."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from inventory.errors import Problem


class Holder(NamedTuple):
    """The unfinished operation that an instance is in; of a deploy and a rollback that goes before it, the rollback.

    operation: its id. kind: `deploy` or `rollback`. has_begun: a worker is at the instance, for either of them.
    """

    operation: str
    kind: str
    has_begun: bool


class Operations:
    """There are none. Instances and services are given and answered by their primary keys."""

    def holders(self, *, instances: Collection[int] | None = None, service: int | None = None) -> dict[int, Holder]:
        """Who holds these instances, or those of a service; free ones are left out."""
        return {}

    def problems(self, instances: Collection[int]) -> list[Problem]:
        """A problem `instance_busy` for each operation that holds one of these."""
        return []

    def ended_since(self, instances: Collection[int], since: datetime) -> set[int]:
        """Those of the instances that an operation has let go of since then."""
        return set()

    def remember(self, *, instance: int | None = None, service: int | None = None) -> bool:
        """Whether some operation, finished or not, was on this instance or service."""
        return False

    def look_after(self, service: int) -> None:
        """Have the nodes asked that wait by themselves for what becomes of an operation."""

    def label(self, status: str) -> str:
        """What a target's status is called, in the reader's language; '' stays ''."""
        return status


operations = Operations()
