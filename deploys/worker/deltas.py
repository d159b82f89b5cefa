"""What of an operation's artifact goes to nodes that have another release of the service: which part, and whether it pays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from deploys.packages.parts import FAILURES, Part, Parts, TooManyEntries
from deploys.packages.store import Artifact, PackageStore, stored
from deploys.worker.bases import Base
from deploys.worker.pools import HASHING, in_pool

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Of the release's bytes. Above it, to copy the rest on the node takes longer than to send it (docs/performance.md).
MOST_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A part, and the release on the node that it completes."""

    base: Base
    part: Part


class Deltas:
    """One operation's, in this process: each comparison and each part is made once for all of its nodes."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self._damaged: set[Base] = set()

    async def offers(self, artifact: Artifact, bases: Sequence[Base]) -> AsyncIterator[Delta]:
        """The one of which least is to be sent first; none where all of the artifact had better go."""
        remainders: list[tuple[int, Base]] = []
        for base in bases:
            remainder = await self._once("remainder", partial(_remainder, artifact, base), artifact, base)
            if remainder is not None:
                remainders.append((remainder, base))
        for _remainder_bytes, base in sorted(remainders, key=lambda each: each[0]):
            part = await self._once("part", partial(_part, artifact, base), artifact, base)
            if part is not None and base not in self._damaged:
                yield Delta(base=base, part=part)

    async def is_damaged(self, delta: Delta) -> bool:
        """Whether its part has gone bad on this host's disk; then it is forgotten, and none is offered in its place."""
        is_damaged = await in_pool(HASHING, lambda: _parts().discard_if_damaged(delta.part))
        if is_damaged:
            logger.warning("The package store's %s has gone bad: all of the package is sent.", delta.part.path.name)
            self._damaged.add(delta.base)
        return is_damaged

    async def _once(self, what: str, call: Callable[[], T], artifact: Artifact, base: Base) -> T | None:
        """One caller's end does not end the others' wait."""
        key = (what, artifact.artifact_sha256, base.sha256)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(_unless_it_fails(call))
        return await asyncio.shield(self._tasks[key])


async def _unless_it_fails(call: Callable[[], T]) -> T | None:
    try:
        return await in_pool(HASHING, call)
    except FAILURES:
        logger.exception("What differs between two releases could not be found: all of the package is sent.")
        return None


def _parts() -> Parts:
    return Parts(PackageStore.of_this_host())


def _remainder(artifact: Artifact, base: Base) -> int | None:
    """How many bytes differ; None where that does not pay, or this host knows nothing of the base's package."""
    base_artifact = stored(base.sha256)
    if base_artifact is None or base.sha256 == artifact.sha256:
        return None
    try:
        found = _parts().difference(artifact, base_artifact)
    except TooManyEntries:
        return None
    return found.sent_bytes if found.sent_bytes <= MOST_SHARE * found.all_bytes else None


def _part(artifact: Artifact, base: Base) -> Part | None:
    base_artifact = stored(base.sha256)
    part = None if base_artifact is None else _parts().part(artifact, base_artifact)
    return part if part is not None and part.size_bytes < artifact.artifact_bytes else None
