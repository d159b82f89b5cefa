"""An operation's package on this host, fetched once for all of its nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from deploys import measures
from deploys.error_codes import ErrorCode
from deploys.models import Operation, Package
from deploys.packages import fetch
from deploys.packages.errors import FetchStopped, PackageError
from deploys.packages.store import Artifact, PackageStore
from deploys.told import Told
from deploys.told import marked as _
from deploys.worker import pinning
from deploys.worker.assignment import PinnedPackage, pinned
from deploys.worker.deltas import Deltas
from deploys.worker.fetch_lock import alone_on_this_host
from deploys.worker.pools import DISK, DOWNLOADS, HASHING, ask_database, downloading, in_pool, reading
from inventory.database.outage import Patience

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What takes less is not worth a line.
_SAY_AFTER_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Download:
    """host: with its port, as the URL names it; nothing else of the URL."""

    host: str
    size_bytes: int
    seconds: float


class PackageFetch:
    """One operation's package on this host, fetched once for all of its nodes that this work loop works on.

    download: what it took, once it is here; None when it was in the store. deltas: what of it goes to nodes that have another
    release.
    """

    def __init__(self, operation_id: int, say: Callable[[Told], None]) -> None:
        """say: writes a line of the operation's log, from any thread."""
        self._operation_id = operation_id
        self._say = say
        self._patience = Patience("package")
        self._task: asyncio.Task[tuple[PinnedPackage, Artifact]] | None = None
        self._check: asyncio.Task[bool] | None = None
        self._is_unwanted = False
        self._signature = ""
        self.download: Download | None = None
        self.deltas = Deltas()

    async def get(self) -> tuple[PinnedPackage, Artifact]:
        """Raises PackageError. One caller's end does not end the others' wait."""
        if self._task is None:
            self._task = asyncio.create_task(self._fetch())
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
        store = PackageStore.of_this_host()
        is_damaged = await in_pool(HASHING, lambda: store.discard_if_damaged(artifact))
        if is_damaged:
            logger.warning("The package store's copy of %s has gone bad; it is fetched anew.", artifact.sha256)
            self._say(Told(_("The package has gone bad in this worker's store: getting it anew.")))
            self._task = None
        return is_damaged

    def stop(self) -> None:
        """Nobody needs it any more: a download in progress ends within a second or two."""
        self._is_unwanted = True

    async def _fetch(self) -> tuple[PinnedPackage, Artifact]:
        async with alone_on_this_host(self._operation_id, on_wait=self._on_wait_for_others):
            operation = await self._ask(lambda: pinning.operation_to_fetch_for(self._operation_id))
            package, artifact = pinning.from_store(operation) or await self._get_by_newest_link(operation)
        pin = pinned(package)
        assert pin is not None
        return pin, artifact

    async def _get_by_newest_link(self, operation: Operation) -> tuple[Package, Artifact]:
        """A link may expire during its download, and be signed anew meanwhile."""
        while True:
            try:
                return await self._get_and_pin(operation)
            except PackageError:
                if self._is_unwanted or not await self._ask(partial(pinning.has_newer_link, operation)):
                    raise
            self._say(Told(_("The request has come again with another link: trying that.")))
            operation = await self._ask(lambda: pinning.operation_to_fetch_for(self._operation_id))

    async def _get_and_pin(self, operation: Operation) -> tuple[Package, Artifact]:
        wanted = pinning.wanted(operation)
        try:
            artifact = await self._get(wanted, operation.service_id)
            return await self._ask(
                lambda: pinning.pin(operation, artifact, wanted.url, signature=self._signature)
            ), artifact
        except PackageError as error:
            measures.DOWNLOADS.add(error.code)
            # This host's own trouble says nothing of the package: whoever comes next tries again.
            if not self._is_unwanted and error.code != ErrorCode.INTERNAL_ERROR:
                refusal = error
                await self._ask(lambda: pinning.remember_refusal(operation, refusal))
            raise

    async def _get(self, wanted: pinning.Wanted, service: int) -> Artifact:
        rules = {
            "expected_sha256": wanted.expected_sha256,
            "signing_key": wanted.signing_key,
            "signature": wanted.signature,
            "zip_names": wanted.zip_names,
        }
        get = partial(
            fetch.fetch,
            wanted.url,
            **rules,
            should_stop=self._is_now_unwanted,
            on_note=self._say,
            on_signed=self._signed,
            on_downloaded=partial(self._downloaded, wanted.host),
            turn_to_read=partial(self._turn_to_read, service),
        )
        if fetch.needs_no_host(**rules):
            return await in_pool(DISK, get)
        async with self._turn_to_download(service, wanted.host):
            return _counted(await in_pool(DOWNLOADS, get))

    def _signed(self, signature: str) -> None:
        """In the download's thread."""
        self._signature = signature

    def _downloaded(self, host: str, size_bytes: int, seconds: float) -> None:
        """In the download's thread."""
        self.download = Download(host=host, size_bytes=size_bytes, seconds=seconds)

    async def _ask(self, call: Callable[[], T]) -> T:
        """An outage of the database must not turn a sound package into a failure."""
        return await ask_database(call, patience=self._patience)

    # What it waits for.

    def _on_wait_for_others(self, *, is_first: bool) -> None:
        self._check_wanted()
        if is_first:
            self._say(Told(_("Waiting for another worker process of this host, which is getting this package.")))

    @asynccontextmanager
    async def _turn_to_download(self, service: int, host: str) -> AsyncIterator[None]:
        turn = downloading.ask(service=service, place=host)
        try:
            granted = asyncio.wrap_future(turn.granted)
            await asyncio.wait({granted}, timeout=_SAY_AFTER_SECONDS)
            if not granted.done():
                self._say(_turns(host))
            while not granted.done():
                self._check_wanted()
                await asyncio.wait({granted}, timeout=_SAY_AFTER_SECONDS)
            yield
        finally:
            downloading.end(turn)

    @contextmanager
    def _turn_to_read(self, service: int) -> Iterator[None]:
        """In the download's thread."""
        turn = reading.ask(service=service)
        try:
            if not _is_done(turn.granted):
                text = _(
                    "Waiting for a turn to read the package: %(count)s of at most %(most)s are being read in this worker process."
                )
                self._say(Told(text, {"count": reading.begun(), "most": reading.most}))
            while not _is_done(turn.granted):
                self._check_wanted()
            yield
        finally:
            reading.end(turn)

    def _check_wanted(self) -> None:
        if self._is_unwanted:
            raise FetchStopped

    def _is_now_unwanted(self) -> bool:
        return self._is_unwanted


def _counted(artifact: Artifact) -> Artifact:
    measures.DOWNLOADS.add("ok")
    measures.DOWNLOADED_BYTES.add(by=artifact.size_bytes)
    return artifact


def _turns(host: str) -> Told:
    text = _(
        "Waiting for a turn to download: %(count)s of at most %(most)s from %(host)s run in this worker process, %(all)s of "
        "at most %(most_of_all)s in all."
    )
    return Told(
        text,
        {
            "host": host,
            "count": downloading.begun(host),
            "most": downloading.most_at_a_place,
            "all": downloading.begun(),
            "most_of_all": downloading.most,
        },
    )


def _is_done(future: futures.Future[None]) -> bool:
    return bool(futures.wait([future], timeout=_SAY_AFTER_SECONDS).done)
