"""A door before a node's sshd that notes when something first goes through it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress


class Door:
    """Listens on a port of its own and passes everything on. Runs in a thread."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._touched_at: float | None = None
        self._touched = threading.Event()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, daemon=True).start()
        self._ready.wait()

    def reset(self) -> None:
        self._touched.clear()
        self._touched_at = None

    def wait(self, within_seconds: float = 60.0) -> float:
        """The moment, by time.perf_counter, of the first connection or byte since the reset."""
        if not self._touched.wait(within_seconds):
            raise TimeoutError("the node was not touched")
        assert self._touched_at is not None
        return self._touched_at

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _shut(self) -> None:
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    def _touch(self) -> None:
        if self._touched_at is None:
            self._touched_at = time.perf_counter()
            self._touched.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._enter, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._touch()
        node_reader, node_writer = await asyncio.open_connection("127.0.0.1", self._target)
        inward = self._pass(reader, node_writer, is_inward=True)
        outward = self._pass(node_reader, writer, is_inward=False)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(inward, outward)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_inward: bool) -> None:
        try:
            while data := await source.read(65_536):
                if is_inward:
                    self._touch()
                sink.write(data)
                await sink.drain()
            sink.close()
        except OSError:
            return
