"""One worker process of a host gets an operation's package; the others wait for it, and find it in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from deploys.packages.store import PackageStore

POLL_SECONDS = 0.2


class OnWait(Protocol):
    def __call__(self, *, is_first: bool) -> None:
        """Called at each look that finds somebody else at it. What it raises ends the wait."""


@asynccontextmanager
async def alone_on_this_host(operation_id: int, *, on_wait: OnWait) -> AsyncIterator[None]:
    """The lock goes with the process, however it ends. No thread waits for it."""
    path = PackageStore.of_this_host().lock_file(f"operation-{operation_id}")
    lock = FileLock(path, mode=0o600)
    await _acquire(lock, on_wait)
    try:
        yield
    finally:
        # While it is held: whoever has opened the file meanwhile finds that it has no name, and makes a new one.
        Path(path).unlink(missing_ok=True)
        lock.release()


async def _acquire(lock: FileLock, on_wait: OnWait) -> None:
    is_first = True
    while True:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            on_wait(is_first=is_first)
            is_first = False
            await asyncio.sleep(POLL_SECONDS)
        else:
            return
