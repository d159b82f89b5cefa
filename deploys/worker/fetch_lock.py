"""One worker process of a host gets an operation's package; the others wait for it, and find it in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from filelock import FileLock, Timeout

from deploys.packages.store import PackageStore

POLL_SECONDS = 0.2


class OnWait(Protocol):
    def __call__(self, *, is_first: bool) -> None:
        """Called at each look that finds somebody else at it. What it raises ends the wait."""


@asynccontextmanager
async def alone_on_this_host(operation_id: int, *, on_wait: OnWait) -> AsyncIterator[None]:
    """The lock goes with the process, however it ends. No thread waits for it. Raises PackageError for this host's trouble."""
    store = PackageStore.of_this_host()
    with store.own_trouble():
        path = store.lock_file(f"operation-{operation_id}")
    lock = FileLock(path, mode=0o600)
    await _acquire(lock, store, on_wait)
    try:
        yield
    finally:
        # While it is held: whoever has opened the file meanwhile finds that it has no name, and makes a new one.
        with suppress(OSError):
            path.unlink()
        lock.release()


async def _acquire(lock: FileLock, store: PackageStore, on_wait: OnWait) -> None:
    is_first = True
    while not _is_acquired(lock, store):
        on_wait(is_first=is_first)
        is_first = False
        await asyncio.sleep(POLL_SECONDS)


def _is_acquired(lock: FileLock, store: PackageStore) -> bool:
    with store.own_trouble():
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
    return True
