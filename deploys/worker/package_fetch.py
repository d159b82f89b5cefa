"""An operation's package on this host, fetched once for all of its nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from django.db import connection

from deploys.models import Package
from deploys.packages.store import Artifact, PackageStore
from deploys.worker import pinning
from deploys.worker.assignment import PinnedPackage, pinned
from inventory.database.outage import Patience

logger = logging.getLogger(__name__)


class PackageFetch:
    """One operation's package on this host, fetched once for all of its nodes that this work loop works on."""

    def __init__(self, operation_id: int, say: Callable[[str], None]) -> None:
        self._operation_id = operation_id
        self._say = say
        self._task: asyncio.Task[tuple[PinnedPackage, Artifact]] | None = None
        self._check: asyncio.Task[bool] | None = None
        self._is_unwanted = False

    async def get(self) -> tuple[PinnedPackage, Artifact]:
        """Raises PackageError. One caller's end does not end the others' wait."""
        if self._task is None:
            self._task = asyncio.create_task(asyncio.to_thread(self._fetch))
            # Those who waited may all have been stopped: then nobody is left to hear of its failure.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._task)

    async def renewed(self, doubted: Artifact) -> Artifact | None:
        """A new one, if the artifact proves to have gone bad on this host's disk. Read once, for all who doubt it.

        Raises PackageError.
        """
        if self._check is None:
            self._check = asyncio.create_task(self._discard_if_damaged(doubted))
        if not await asyncio.shield(self._check):
            return None
        _, artifact = await self.get()
        return artifact

    async def _discard_if_damaged(self, artifact: Artifact) -> bool:
        is_damaged = await asyncio.to_thread(PackageStore.of_this_host().discard_if_damaged, artifact)
        if is_damaged:
            logger.warning("The package store's copy of %s has gone bad; it is fetched anew.", artifact.sha256)
            self._say("The package has gone bad in this worker's store: getting it anew.")
            self._task = None
        return is_damaged

    def stop(self) -> None:
        """Nobody needs it any more: a download in progress ends within a second or two."""
        self._is_unwanted = True

    def _fetch(self) -> tuple[PinnedPackage, Artifact]:
        try:
            package, artifact = self._fetch_until_it_is_pinned()
        finally:
            connection.close()  # this thread goes back to a pool, where it would stay open
        pin = pinned(package)
        assert pin is not None
        return pin, artifact

    def _fetch_until_it_is_pinned(self) -> tuple[Package, Artifact]:
        """An outage of the database must not turn a sound package into a failure."""
        return Patience("package").insist(
            lambda: pinning.package_for(self._operation_id, should_stop=self._is_now_unwanted, on_note=self._say),
            gives_up=self._is_now_unwanted,
        )

    def _is_now_unwanted(self) -> bool:
        return self._is_unwanted
