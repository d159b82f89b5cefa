"""One operation's work on one node: one connection and one transfer, however many instances stand there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from django.db import connection

from deploys.models import Package
from deploys.node.session import NodeError, NodeSession, Staged
from deploys.packages import fetch
from deploys.packages.artifact_links import artifact_url
from deploys.packages.fetch import Artifact
from deploys.worker import pinning
from deploys.worker.assignments import Assignment, PinnedPackage, pinned
from inventory.database.outage import AWAY
from inventory.models import Delivery
from inventory.nodes.transports.base import ConnectionLost, Transport, TransportError
from inventory.nodes.transports.pool import ConnectionPool

logger = logging.getLogger(__name__)

STAGE_TIMEOUT_SECONDS = 1_800
DATABASE_PAUSE_SECONDS = 0.5
# Of one node; an SSH server's MaxSessions may allow fewer, which the connection pool sees to.
INSTANCES_AT_ONCE = 100
# What a node says of an artifact that is not what was packed; an upload that it can't unpack looks like a lost connection.
DOUBTFUL = ("package_checksum_mismatch", "internal_error")


class PackageFetch:
    """One operation's package on this host, fetched once for all of its nodes that this drive works on."""

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
        is_damaged = await asyncio.to_thread(fetch.discard_if_damaged, artifact)
        if is_damaged:
            logger.warning("The package store's copy of %s has gone bad; it is fetched anew.", artifact.sha256)
            self._say("The package has gone bad in this worker's store: getting it anew.")
            self._task = None
        return is_damaged

    def stop(self) -> None:
        """Nobody needs it any more: a download under way ends within a second or two."""
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
        """A database that is away for a while must not turn a sound package into a failure."""
        while True:
            try:
                return pinning.package_for(self._operation_id, should_stop=lambda: self._is_unwanted, on_note=self._say)
            except AWAY as error:
                if self._is_unwanted:
                    raise
                logger.warning("The database is away while a package is fetched, trying again: %s", error)
                connection.close()
                time.sleep(DATABASE_PAUSE_SECONDS)


class NodeRun:
    """What the targets of one (operation, node) pair share."""

    def __init__(self, assignments: Sequence[Assignment], pool: ConnectionPool, fetch: PackageFetch) -> None:
        self._node = assignments[0].node
        self._package = assignments[0].package
        self._count = len(assignments)
        self._pool = pool
        self._fetch = fetch
        self._upload = asyncio.Lock()
        self.slots = asyncio.Semaphore(INSTANCES_AT_ONCE)
        self._remote_artifact: str | None = None
        self._connecting: asyncio.Task[Transport] | None = None

    def connect_early(self) -> None:
        """Begin to log in; the next `transport` waits for it, and hears of its failure."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._pool.transport(self._node))
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def transport(self) -> Transport:
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            return await asyncio.shield(connecting)
        return await self._pool.transport(self._node)

    async def artifact(self) -> tuple[PinnedPackage, Artifact]:
        return await self._fetch.get()

    def is_in_store(self) -> bool:
        return self._package is not None and fetch.stored(self._package.sha256) is not None

    async def stage(
        self,
        session: NodeSession,
        assignment: Assignment,
        package: PinnedPackage,
        artifact: Artifact,
        on_begin: Callable[[], None],
    ) -> Staged:
        """Have the release whole on the node; of a node's instances the first gets it, the others take it there."""
        if self._count == 1:
            on_begin()
            return await self._stage(session, assignment, package, artifact)
        async with self._upload:
            if self._remote_artifact is None:
                on_begin()
                staged = await self._stage(session, assignment, package, artifact, keep_artifact=True)
                self._remote_artifact = staged.kept_artifact
                return staged
        on_begin()
        return await self._stage(session, assignment, package, artifact, remote_artifact=self._remote_artifact)

    async def _stage(
        self,
        session: NodeSession,
        assignment: Assignment,
        package: PinnedPackage,
        artifact: Artifact,
        *,
        remote_artifact: str | None = None,
        keep_artifact: bool = False,
    ) -> Staged:
        """When the node can't use what it gets, and the fault is in our store, once more with a new artifact."""
        # Another node's run may have found out already, and got a new one, or none.
        _, artifact = await self._fetch.get()

        async def stage(artifact: Artifact) -> Staged:
            return await session.stage(
                release=package.release,
                version=assignment.version,
                sha256=package.sha256,
                operation=assignment.public_id,
                artifact=artifact,
                url=artifact_url(artifact.sha256) if assignment.delivery == Delivery.PULL else None,
                remote_artifact=remote_artifact,
                keep_artifact=keep_artifact,
                timeout_seconds=STAGE_TIMEOUT_SECONDS,
            )

        try:
            return await stage(artifact)
        except (ConnectionLost, NodeError) as error:
            if isinstance(error, NodeError) and error.code not in DOUBTFUL:
                raise
            renewed = await self._fetch.renewed(artifact)
            if renewed is None:
                raise
        return await stage(renewed)

    async def clean_up(self) -> None:
        """Remove the upload that was kept for the node's other instances."""
        if self._remote_artifact is None:
            return
        try:
            transport = await self.transport()
            await transport.run(["rm", "-f", "--", self._remote_artifact], timeout_seconds=30)
        except TransportError:
            return  # the next claim on that node removes what an earlier one left
