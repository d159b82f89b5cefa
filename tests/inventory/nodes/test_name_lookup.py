"""Names of nodes that don't resolve for a long time keep no other waiting."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.nodes.transports.ssh_dial import dial

HANGING = 60


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A name server that never answers for `*.slow.example`; the names that were asked for."""
    answer = threading.Event()
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        if not host.endswith(".slow.example"):
            return real(host, *arguments, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        asked.append(host)
        answer.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    answer.set()


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of somebody who speaks first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                connection.sendall(b"SSH-2.0-x\r\n")

        threading.Thread(target=greet, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_name_that_resolves_is_reached_while_many_hang(looked_up: list[str], listening: int) -> None:
    async def reach() -> float:
        hanging = [asyncio.create_task(dial(f"node-{n}.slow.example", 22)) for n in range(HANGING)]
        await asyncio.sleep(0.3)
        began = time.monotonic()
        for host in ("localhost", "127.0.0.1"):
            (await dial(host, listening)).close()
        seconds = time.monotonic() - began
        for task in hanging:
            task.cancel()
        return seconds

    began = time.monotonic()
    assert asyncio.run(reach()) < 2
    assert time.monotonic() - began < 5, "the loop's end waited for the names that hang"
    assert len(looked_up) == HANGING


def test_a_name_that_hangs_is_looked_up_once_for_all_who_wait(looked_up: list[str]) -> None:
    async def ask_often() -> None:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await dial("node.slow.example", 22)

    asyncio.run(ask_often())
    assert looked_up == ["node.slow.example"]
