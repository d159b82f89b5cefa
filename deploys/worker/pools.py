"""A worker process's threads, by what they wait for: what may take long never keeps waiting what is short.

The work loop, the group commit, heartbeats and notifications have threads of their own. asyncio's own pool is left to asyncssh,
which signs there at each login.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

from deploys.worker.turns import Turns
from inventory.database.outage import Patience

T = TypeVar("T")

# Of one process. Each costs two threads, and no connection to the database.
DOWNLOADS_AT_ONCE = 30
DOWNLOADS_OF_A_HOST = 10
# Each a process that computes, and may take half a gigabyte of memory.
READERS_AT_ONCE = 4

downloading = Turns(most=DOWNLOADS_AT_ONCE, most_at_a_place=DOWNLOADS_OF_A_HOST)
reading = Turns(most=READERS_AT_ONCE)

DOWNLOADS: Executor = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="downloads")
DISK: Executor = ThreadPoolExecutor(4, thread_name_prefix="disk")
# Reads gigabytes.
HASHING: Executor = ThreadPoolExecutor(2, thread_name_prefix="hashing")
# Waits for a heartbeat that may be waiting for the database.
ENDING: Executor = ThreadPoolExecutor(1, thread_name_prefix="ending")
# Short calls, few at a time: each has a connection to the database while it lasts.
_DATABASE = ThreadPoolExecutor(2, thread_name_prefix="database")


async def in_pool(pool: Executor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, call)


async def ask_database(call: Callable[[], T], *, patience: Patience) -> T:
    """Its answer, however long the database is away meanwhile; no thread waits for that."""
    while True:
        answer = await in_pool(_DATABASE, lambda: _attempt(call, patience))
        if answer is not None:
            return answer[0]
        await asyncio.sleep(patience.next_pause())


def _attempt(call: Callable[[], T], patience: Patience) -> tuple[T] | None:
    try:
        return patience.attempt(lambda: (call(),))
    finally:
        connection.close()  # it would stay open with the thread
