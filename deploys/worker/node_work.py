"""One operation's work on one node: one connection and one transfer, however many instances stand there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from deploys.error_codes import ErrorCode
from deploys.measures import NODE_BYTES
from deploys.node.room import Room
from deploys.node.session import Checked, NodeError, NodeSession, Staged
from deploys.packages import store
from deploys.packages.artifact_links import artifact_url
from deploys.packages.store import Artifact
from deploys.told import Told
from deploys.worker import story
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.package_fetch import PackageFetch
from inventory.models import Delivery
from inventory.nodes.transports.base import ConnectionLost, NodeMisbehaved, Transport, TransportError
from inventory.nodes.transports.pool import ConnectionPool

logger = logging.getLogger(__name__)

STAGE_TIMEOUT_SECONDS = 1_800
# Of one node; an SSH server's MaxSessions may allow fewer, which the connection pool sees to.
INSTANCES_AT_ONCE = 100
# What a node says of an artifact that is not what was packed; an upload that it can't unpack looks like a lost connection.
DOUBTFUL = (ErrorCode.PACKAGE_CHECKSUM_MISMATCH, ErrorCode.INTERNAL_ERROR)


class NodeWork:
    """What the targets of one (operation, node) pair share."""

    def __init__(self, assignments: Sequence[Assignment], pool: ConnectionPool, fetch: PackageFetch) -> None:
        self._first = assignments[0]
        self._node = assignments[0].node
        self._package = assignments[0].package
        self._count = len(assignments)
        self._pool = pool
        self._fetch = fetch
        self._upload = asyncio.Lock()
        self.slots = asyncio.Semaphore(INSTANCES_AT_ONCE)
        self._remote_artifact: str | None = None
        self._connecting: asyncio.Task[Transport] | None = None
        self._room = Room()

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

    def told_of_package(self, artifact: Artifact) -> Told:
        download = self._fetch.download
        if download is None:
            return story.was_stored(artifact.size_bytes)
        return story.downloaded(host=download.host, size_bytes=download.size_bytes, seconds=download.seconds)

    async def intact_artifact(self) -> tuple[PinnedPackage, Artifact]:
        """As `artifact`, with all of its bytes read in our store, and got anew if they have gone bad there."""
        package, artifact = await self._fetch.get()
        return package, await self._fetch.renewed(artifact) or artifact

    async def check_release(
        self, session: NodeSession, assignment: Assignment, package: PinnedPackage, artifact: Artifact
    ) -> Checked:
        """What a deploy would meet there, which changes nothing. Raises NodeError for what it would fail for."""
        checked = await session.check_release(release=package.release, sha256=package.sha256)
        is_upload_kept = self._count > 1 or assignment.delivery == Delivery.PULL
        self._room.check(
            checked,
            root=assignment.deploy_root,
            release=package.release,
            release_bytes=artifact.unpacked_bytes or artifact.artifact_bytes,
            upload_bytes=artifact.artifact_bytes if is_upload_kept else 0,
        )
        return checked

    def is_in_store(self) -> bool:
        return self._package is not None and store.stored(self._package.sha256) is not None

    async def stage(
        self,
        session: NodeSession,
        assignment: Assignment,
        package: PinnedPackage,
        artifact: Artifact,
        on_begin: Callable[[], None],
    ) -> Staged:
        """Have the release intact on the node; of a node's instances the first gets it, the others take it there."""
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
        # Another node's work may have found out already, and got a new one, or none.
        _, artifact = await self._fetch.get()

        async def stage(artifact: Artifact) -> Staged:
            staged = await session.stage(
                release=package.release,
                version=assignment.version,
                sha256=package.sha256,
                operation=assignment.public_id,
                artifact_path=artifact.path,
                artifact_sha256=artifact.artifact_sha256,
                url=artifact_url(artifact.sha256) if assignment.delivery == Delivery.PULL else None,
                remote_artifact=remote_artifact,
                keep_artifact=keep_artifact,
                timeout_seconds=STAGE_TIMEOUT_SECONDS,
            )
            if staged.outcome == "installed" and remote_artifact is None:
                NODE_BYTES.add(assignment.delivery, by=artifact.artifact_bytes)
            return staged

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
            root, fence = self._first.deploy_root, self._first.fence
            session = NodeSession(transport, root=root, fence=fence, env={}, on_event=lambda _event: None)
            await session.forget(self._remote_artifact)
        except (TransportError, NodeError, NodeMisbehaved):
            return  # the next claim on that node removes what an earlier one left
