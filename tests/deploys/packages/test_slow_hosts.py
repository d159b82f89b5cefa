"""A host that keeps a download alive with next to nothing: it is given up on, and told apart from one that is just slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from deploys.packages import download, fetch
from deploys.packages.errors import PackageError
from deploys.packages.speed import LOWEST_SPEED
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost

CONTENT = package({"data": bytes(range(256)) * 40})
SECONDS = 1.5


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, settings: Settings, package_host: PackageHost, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    lowest = replace(LOWEST_SPEED, over_seconds=SECONDS)
    patience = download.Patience(deadline_seconds=20, lowest=lowest, first_pause_seconds=0.01)
    monkeypatch.setattr(fetch, "PATIENCE", patience)


def refusal(url: str) -> tuple[PackageError, float]:
    began = time.monotonic()
    with pytest.raises(PackageError) as raised:
        fetch.fetch(url)
    return raised.value, time.monotonic() - began


@pytest.mark.parametrize("content_length", [True, False], ids=["length said", "length not said"])
def test_a_body_that_drips_is_given_up_on_after_a_second_attempt(
    content_length: bool, package_host: PackageHost
) -> None:
    package_host.add("p.tar.gz", CONTENT)
    drip = Behaviour(chunk_bytes=1, pause_seconds=0.1, content_length=content_length)
    error, seconds = refusal(package_host.behave("p.tar.gz", drip))

    assert error.code == "package_unreachable"
    assert "too slow: it sent" in error.message
    assert "1000 a second are the least (2 attempts)" in error.message
    assert len(package_host.requests) == 2
    assert 2 * SECONDS <= seconds < 4 * SECONDS


def test_a_head_that_drips_is_given_up_on_too(settings: Settings) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\n" + b"X-Header: y\r\n" * 90) as address:
        settings.PACKAGE_HOSTS = (address,)
        error, seconds = refusal(f"http://{address}/p")

    assert error.code == "package_unreachable"
    assert "too slow: it sent" in error.message
    assert seconds < 4 * SECONDS


def test_a_host_that_takes_its_time_but_sends_enough_is_waited_for(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    package_host.behave("p.tar.gz", Behaviour(silent_seconds=SECONDS * 0.6, chunk_bytes=100, pause_seconds=0.02))

    assert fetch.fetch(url).size_bytes > 0
    assert len(package_host.requests) == 1


def test_one_slow_attempt_is_made_good_by_the_next(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    package_host.behave("p.tar.gz", Behaviour(chunk_bytes=1, pause_seconds=0.1, times=1))
    notes: list[str] = []

    assert fetch.fetch(url, on_note=lambda note: notes.append(str(note))).sha256 == sha256(CONTENT)
    assert "too slow" in notes[1]
    assert package_host.requests[1].headers["Range"].startswith("bytes=")


@contextmanager
def dripping(answer: bytes) -> Iterator[str]:
    """A host that sends this a byte at a time to everybody; the address it has."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            for byte in answer:
                connection.sendall(bytes([byte]))
                if closing.wait(0.05):
                    return

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        closing.set()
        listener.close()
