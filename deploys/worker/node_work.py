"""One operation's work on one node: one connection and one transfer, however many instances stand there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from deploys.node.room import Room
from deploys.node.session import Checked, NodeError, NodeSession
from deploys.packages import store
from deploys.packages.store import Artifact
from deploys.told import Telling, Told
from deploys.worker import story
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.delivered import Delivered
from deploys.worker.package_fetch import PackageFetch
from deploys.worker.staging import Staging, Uploads
from inventory.models import Delivery
from inventory.nodes.transports.base import NodeMisbehaved, Transport, TransportError
from inventory.nodes.transports.pool import ConnectionPool

logger = logging.getLogger(__name__)

# Of one node; an SSH server's MaxSessions may allow fewer, which the connection pool sees to.
INSTANCES_AT_ONCE = 100


class NodeWork:
    """What the targets of one (operation, node) pair share."""

    def __init__(self, assignments: Sequence[Assignment], pool: ConnectionPool, fetch: PackageFetch) -> None:
        self._first = assignments[0]
        self._node = assignments[0].node
        self._package = assignments[0].package
        self._pool = pool
        self._fetch = fetch
        self._uploads = Uploads(are_kept=len(assignments) > 1)
        self.slots = asyncio.Semaphore(INSTANCES_AT_ONCE)
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
        is_upload_kept = self._uploads.are_kept or assignment.delivery == Delivery.PULL
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
        *,
        on_begin: Callable[[], None],
        on_refusal: Callable[[str, Telling], None],
    ) -> Delivered:
        """As `Staging`."""
        staging = Staging(
            session=session,
            assignment=assignment,
            package=package,
            fetch=self._fetch,
            uploads=self._uploads,
            on_begin=on_begin,
            on_refusal=on_refusal,
        )
        return await staging.run()

    async def clean_up(self) -> None:
        """Remove the uploads that were kept for the node's other instances."""
        if not self._uploads.kept:
            return
        try:
            transport = await self.transport()
            root, fence = self._first.deploy_root, self._first.fence
            session = NodeSession(transport, root=root, fence=fence, env={}, on_event=lambda _event: None)
            for path in self._uploads.kept.values():
                await session.forget(path)
        except (TransportError, NodeError, NodeMisbehaved):
            return  # the next claim on that node removes what an earlier one left
