"""Whoever prints much is read in turns: the event loop that all nodes share stays free for the others."""

from __future__ import annotations

import asyncio
import time

import pytest

from inventory.nodes.transports import pace
from inventory.nodes.transports.base import STDOUT, Output
from inventory.nodes.transports.flow import Flow

FLOODS = 6
FREE_SECONDS = 0.02
CHUNK = b"x" * 32 * 1024
# What it takes to look a chunk through, at worst.
CHUNK_SECONDS = 0.005
# Of this process's own, so that a busy machine does not count.
SECONDS = 0.8


class Flood:
    """A channel that has more at once whenever it is read."""

    def __init__(self) -> None:
        self._flow = Flow()
        self._output = Output(on_output=lambda *_: burn(CHUNK_SECONDS), is_done=None, flow=self._flow)
        self._is_read = asyncio.Event()
        self._is_read.set()
        self._output.read_from(pause=self._is_read.clear, resume=self._is_read.set)
        self.chunks = 0

    async def flow(self) -> None:
        while True:
            await self._is_read.wait()
            self._output.feed(STDOUT, CHUNK)
            self.chunks += 1
            await asyncio.sleep(0)


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def bystander() -> None:
    """Somebody else's work, which never waits."""
    while True:
        burn(0.001)
        await asyncio.sleep(0)


def test_floods_leave_most_of_the_loop_to_the_others_and_still_come_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FREE_SECONDS", FREE_SECONDS)

    async def main() -> tuple[float, list[int]]:
        floods = [Flood() for _ in range(FLOODS)]
        tasks = [asyncio.create_task(each) for each in (bystander(), *(flood.flow() for flood in floods))]
        began = time.thread_time()
        while time.thread_time() - began < SECONDS:
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        return time.thread_time() - began, [flood.chunks for flood in floods]

    spent, chunks = asyncio.run(main())
    # Each has had its free part, and a turn or two more.
    assert min(chunks) > FREE_SECONDS / CHUNK_SECONDS
    free = FLOODS * FREE_SECONDS
    assert sum(chunks) * CHUNK_SECONDS - free < (spent - free) * 0.6


def test_what_prints_little_is_never_held() -> None:
    flow = Flow()

    async def main() -> None:
        output = Output(on_output=lambda *_: None, is_done=None, flow=flow)
        for _ in range(64):
            output.feed(STDOUT, CHUNK)
            assert not flow.is_held

    asyncio.run(main())
