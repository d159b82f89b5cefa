"""Have a release intact on a node: made there of another one and what differs, or of all of its artifact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploys.error_codes import ErrorCode
from deploys.measures import NODE_BYTES
from deploys.node.refusals import base_told
from deploys.node.session import NodeError, NodeSession, Staged
from deploys.packages.artifact_links import artifact_url
from deploys.packages.store import Artifact
from deploys.told import Telling
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.bases import Base
from deploys.worker.delivered import Delivered
from deploys.worker.deltas import Delta
from deploys.worker.failpoints import pause_at
from deploys.worker.package_fetch import PackageFetch
from inventory.models import Delivery
from inventory.nodes.transports.base import ConnectionLost

STAGE_TIMEOUT_SECONDS = 1_800
# What a node says of an artifact that is not what was packed; an upload that it can't unpack looks like a lost connection.
DOUBTFUL = (ErrorCode.PACKAGE_CHECKSUM_MISMATCH, ErrorCode.INTERNAL_ERROR)
# Of a part, besides: it may be a web host that knows nothing of parts yet.
DOUBTFUL_OF_A_PART = (*DOUBTFUL, ErrorCode.PACKAGE_UNREACHABLE)


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """What has come to one node. kept: where on the node the uploads are, by their sha256, for its other instances.

    are_kept: it has others. first: held by the instance that needs something first; sending: while something is sent that
    will be kept.
    """

    are_kept: bool
    kept: dict[str, str] = field(default_factory=dict)
    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """What is sent: an artifact, or a part for who has `base`."""

    path: Path
    sha256: str
    size_bytes: int
    base: Base | None = None


@dataclass(frozen=True, kw_only=True)
class Staging:
    """Of one instance. on_begin: told when the node begins with it. on_refusal: of a release there that it could not make it of,
    and why.
    """

    session: NodeSession
    assignment: Assignment
    package: PinnedPackage
    fetch: PackageFetch
    uploads: Uploads
    on_begin: Callable[[], None]
    on_refusal: Callable[[str, Telling], None]

    async def run(self) -> Delivered:
        """Of a node's instances one begins, and the others take there what it got; trouble with the store is over by then."""
        if not self.uploads.are_kept:
            return await self._deliver()
        async with self.uploads.first:
            if not self.uploads.kept:
                return await self._deliver()
        return await self._deliver()

    async def _deliver(self) -> Delivered:
        # Another node's work may have found out already that the store's is damaged, and got a new one, or none.
        _, artifact = await self.fetch.get()
        if self._may_be_there() and (there := await self._look()).outcome == "present":
            return Delivered(staged=there)
        others = [base for base in self.assignment.bases if base.release != self.package.release]
        sent_bytes = 0
        async for delta in self.fetch.deltas.offers(artifact, others):
            delivered = await self._of_delta(delta, artifact)
            sent_bytes += delivered.sent_bytes
            if delivered.is_there:
                return replace(delivered, sent_bytes=sent_bytes)
            why = base_told(delivered.staged.no_base, root=self.assignment.deploy_root)
            self.on_refusal(delta.base.release, (why,))
        delivered = await self._of_all(artifact)
        return replace(delivered, sent_bytes=sent_bytes + delivered.sent_bytes)

    def _may_be_there(self) -> bool:
        """From before: no part has to be made for it then."""
        return any(base.release == self.package.release for base in self.assignment.bases)

    async def _look(self) -> Staged:
        self.on_begin()
        return await self.session.stage(
            release=self.package.release,
            version=self.assignment.version,
            sha256=self.package.sha256,
            operation=self.assignment.public_id,
            artifact_path=None,
            timeout_seconds=STAGE_TIMEOUT_SECONDS,
        )

    async def _of_delta(self, delta: Delta, artifact: Artifact) -> Delivered:
        """What is wrong with the part, or comes of it on the node, does not keep the artifact from being sent."""
        base, part = delta.base, delta.part
        sent = _Sent(path=part.path, sha256=part.sha256, size_bytes=part.size_bytes, base=base)
        await pause_at("delta")
        try:
            staged = await self._send(sent)
        except ConnectionLost:
            if not await self.fetch.deltas.is_damaged(delta):
                raise
            return await self._of_all(artifact)
        except NodeError as error:
            if error.code not in DOUBTFUL_OF_A_PART:
                raise
            await self.fetch.deltas.is_damaged(delta)
            self.on_refusal(base.release, error.told)
            return await self._of_all(artifact)
        sent_bytes, full_bytes = part.size_bytes if staged.is_sent else 0, artifact.artifact_bytes
        return Delivered(staged=staged, sent_bytes=sent_bytes, full_bytes=full_bytes, base=base.release)

    async def _of_all(self, artifact: Artifact) -> Delivered:
        """When the node can't use what it gets, and the fault is in our store, once more with a new artifact."""
        try:
            return await self._of_artifact(artifact)
        except (ConnectionLost, NodeError) as error:
            if isinstance(error, NodeError) and error.code not in DOUBTFUL:
                raise
            renewed = await self.fetch.renewed(artifact)
            if renewed is None:
                raise
        return await self._of_artifact(renewed)

    async def _of_artifact(self, artifact: Artifact) -> Delivered:
        size_bytes = artifact.artifact_bytes
        staged = await self._send(_Sent(path=artifact.path, sha256=artifact.artifact_sha256, size_bytes=size_bytes))
        return Delivered(staged=staged, sent_bytes=size_bytes if staged.is_sent else 0, full_bytes=size_bytes)

    async def _send(self, sent: _Sent) -> Staged:
        """Once to a node; its other instances that need the same take it there."""
        if not self.uploads.are_kept:
            return await self._stage(sent)
        async with self.uploads.sending:
            if sent.sha256 not in self.uploads.kept:
                staged = await self._stage(sent, keep_artifact=True)
                if staged.kept_artifact is not None:
                    self.uploads.kept[sent.sha256] = staged.kept_artifact
                return staged
        return await self._stage(sent, remote_artifact=self.uploads.kept[sent.sha256])

    async def _stage(self, sent: _Sent, *, remote_artifact: str | None = None, keep_artifact: bool = False) -> Staged:
        self.on_begin()
        staged = await self.session.stage(
            release=self.package.release,
            version=self.assignment.version,
            sha256=self.package.sha256,
            operation=self.assignment.public_id,
            artifact_path=sent.path,
            artifact_sha256=sent.sha256,
            url=self._url(sent) if self.assignment.delivery == Delivery.PULL else None,
            remote_artifact=remote_artifact,
            keep_artifact=keep_artifact,
            base=(sent.base.release, sent.base.sha256) if sent.base else None,
            timeout_seconds=STAGE_TIMEOUT_SECONDS,
        )
        if staged.is_sent:
            NODE_BYTES.add(self.assignment.delivery, by=sent.size_bytes)
        return staged

    def _url(self, sent: _Sent) -> str:
        return artifact_url(self.package.sha256, base_sha256=sent.base.sha256 if sent.base else "")
