"""From a URL on a real HTTP host to an artifact in the store."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from deploys.packages import download, fetch, pinned_http
from deploys.packages.errors import FetchStopped, PackageError
from deploys.packages.store import PackageStore
from tests.deploys.packages import hostile
from tests.deploys.packages.repacking import read_artifact
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost, _Handler

CONTENT = package({"bin/app": b"#!/bin/sh\n", "data": hashlib.sha256(b"x").digest() * 20_000})
# Bytes that don't compress, so that a package is larger than what one read takes.
NOISE = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(20_000))
LARGE = package({"data": NOISE})


@pytest.fixture
def store(tmp_path: Path, settings: Settings, package_host: PackageHost) -> PackageStore:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.PACKAGE_MAX_BYTES = 8 * 1024**2
    return PackageStore(tmp_path / "packages")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = download.Patience(deadline_seconds=20, first_pause_seconds=0.01)
    monkeypatch.setattr(fetch, "PATIENCE", patience)


def refusal(url: str, expected_sha256: str = "") -> PackageError:
    with pytest.raises(PackageError) as raised:
        fetch.fetch(url, expected_sha256=expected_sha256)
    return raised.value


def left_behind(store: PackageStore) -> list[str]:
    return sorted(str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file())


def test_it_stores_the_artifact_of_a_package(store: PackageStore, package_host: PackageHost) -> None:
    artifact = fetch.fetch(package_host.add("p.tar.gz", CONTENT))
    assert artifact.sha256 == sha256(CONTENT)
    assert artifact.size_bytes == len(CONTENT)
    assert artifact.artifact_sha256 == sha256(artifact.path.read_bytes())
    assert artifact.artifact_bytes == artifact.path.stat().st_size
    assert read_artifact(artifact.path.read_bytes()).manifest == ["./bin/app", "./data"]
    assert store.stored(artifact.sha256) == artifact
    digest = artifact.sha256
    stored = f"{digest[:2]}/{digest}"
    assert left_behind(store) == [f"{stored}.json", f"{stored}.manifest", f"{stored}.tar.gz", "lock"]


def test_it_asks_the_host_once_and_for_the_bytes_as_they_are(store: PackageStore, package_host: PackageHost) -> None:
    fetch.fetch(package_host.add("p.tar.gz", CONTENT))
    [request] = package_host.requests
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["Host"] == package_host.netloc


def test_it_takes_a_known_package_from_the_store(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    artifact = fetch.fetch(url)
    assert fetch.fetch(url, expected_sha256=artifact.sha256.upper()) == artifact
    assert len(package_host.requests) == 1


def test_it_says_what_it_does_without_the_secrets_of_the_url(store: PackageStore, package_host: PackageHost) -> None:
    notes: list[str] = []
    url = package_host.add("p.tar.gz", CONTENT).replace("//", "//user:s3cret@") + "?sig=s3cret"
    fetch.fetch(url, on_note=lambda note: notes.append(str(note)))
    assert notes[0] == f"Downloading {package_host.url('p.tar.gz')}"
    assert "s3cret" not in " ".join(notes)
    assert package_host.requests[0].headers["Authorization"].startswith("Basic ")
    assert package_host.requests[0].path == "/p.tar.gz?sig=s3cret"


# A host in trouble (FAULTS.md, row 22).


def test_it_refuses_at_once_what_the_host_does_not_have(store: PackageStore, package_host: PackageHost) -> None:
    error = refusal(package_host.url("missing.tar.gz") + "?sig=s3cret")
    assert error.code == "package_unreachable"
    assert f"{package_host.url('missing.tar.gz')} could not be downloaded: the host answered 404 Not Found" in str(
        error
    )
    assert "s3cret" not in str(error)
    assert len(package_host.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_it_tries_again_after_a_passing_trouble(status: int, store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    package_host.behave("p.tar.gz", Behaviour(status=status, times=3))
    notes: list[str] = []
    assert fetch.fetch(url, on_note=lambda note: notes.append(str(note))).sha256 == sha256(CONTENT)
    assert len(package_host.requests) == 4
    assert f"answered {status}" in notes[1]


def test_it_gives_up_after_a_bounded_number_of_attempts(store: PackageStore, package_host: PackageHost) -> None:
    package_host.add("p.tar.gz", CONTENT)
    error = refusal(package_host.behave("p.tar.gz", Behaviour(status=500)))
    assert error.code == "package_unreachable"
    assert re.search(r"500 Internal Server Error \(\d+ attempts\)", str(error))
    assert len(package_host.requests) == 5


@pytest.mark.parametrize("status", [401, 403, 410, 204, 304, 206])
def test_it_does_not_try_again_after_any_other_answer(
    status: int, store: PackageStore, package_host: PackageHost
) -> None:
    package_host.add("p.tar.gz", CONTENT)
    error = refusal(package_host.behave("p.tar.gz", Behaviour(status=status)))
    assert error.code == "package_unreachable"
    assert len(package_host.requests) == 1


def test_it_gives_up_on_a_host_that_refuses_connections(store: PackageStore, settings: Settings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        settings.PACKAGE_HOSTS = (address,)
        error = refusal(f"http://{address}/p.tar.gz")
    assert error.code == "package_unreachable"
    assert "the host refuses connections" in str(error)


def test_it_gives_up_on_a_name_that_does_not_resolve(store: PackageStore, settings: Settings) -> None:
    settings.PACKAGE_HOSTS = ("packages.invalid",)
    error = refusal("http://packages.invalid/p.tar.gz")
    assert error.code == "package_unreachable"
    assert "the host's name can't be resolved" in str(error)


def test_it_goes_on_where_a_connection_dropped(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, times=2))
    notes: list[str] = []
    assert fetch.fetch(url, on_note=lambda note: notes.append(str(note))).sha256 == sha256(LARGE)
    first, second, third = package_host.requests
    assert "Range" not in first.headers
    assert second.headers["Range"] == "bytes=200000-"
    assert third.headers["Range"] == "bytes=400000-"
    assert second.headers["If-Range"].startswith('"')
    assert "from byte 200000 on" in " ".join(notes)
    assert package_host.bytes_sent == len(LARGE)


def test_it_starts_again_where_the_host_knows_no_ranges(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, times=2, ranges=False))
    assert fetch.fetch(url).sha256 == sha256(LARGE)


def test_it_starts_again_where_the_host_names_no_version(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, times=2, etag=False))
    assert fetch.fetch(url).sha256 == sha256(LARGE)
    assert all("Range" not in request.headers for request in package_host.requests)


def test_it_starts_again_when_the_package_changes_in_between(
    store: PackageStore, package_host: PackageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the note to arrive before the next attempt.
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(first_pause_seconds=0.5))
    url = package_host.add("p.tar.gz", LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, times=1))
    other = package({"data": NOISE[::-1]})

    def swap(note: object) -> None:
        if "trying again" in str(note):
            package_host.add("p.tar.gz", other)

    assert fetch.fetch(url, on_note=swap).sha256 == sha256(other)


def test_it_mixes_no_two_versions_of_a_host_that_ignores_if_range(
    store: PackageStore, package_host: PackageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = package_host.add("p.tar.gz", LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, times=1))
    other = package({"data": NOISE[::-1]})
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(first_pause_seconds=0.5))
    monkeypatch.setattr(_Handler, "_wanted_start", lambda self, size, etag: _ranged(self))

    def swap(note: object) -> None:
        if "trying again" in str(note):
            package_host.add("p.tar.gz", other)

    assert fetch.fetch(url, on_note=swap).sha256 == sha256(other)


def _ranged(handler: Any) -> int:
    return int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


def test_it_gives_up_on_connections_that_always_drop_at_the_same_place(
    store: PackageStore, package_host: PackageHost
) -> None:
    package_host.add("p.tar.gz", LARGE)
    error = refusal(package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, ranges=False)))
    assert error.code == "package_unreachable"
    assert "the connection ended in the middle" in str(error)
    assert len(package_host.requests) == 5


def test_it_goes_on_as_long_as_each_attempt_gets_further(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=len(LARGE) // 8))
    assert fetch.fetch(url).sha256 == sha256(LARGE)
    assert len(package_host.requests) == 9


def test_it_notices_a_cut_that_the_host_gave_no_length_for(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, content_length=False, times=1))
    assert fetch.fetch(url).sha256 == sha256(LARGE)
    package_host.behave("p.tar.gz", Behaviour(cut_after=200_000, content_length=False))
    error = refusal(url)
    assert error.code == "package_invalid"
    assert "cut short" in str(error)
    assert len(package_host.requests) == 2 + 3


def test_it_takes_a_chunked_body_and_notices_its_cut(store: PackageStore, settings: Settings) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (CONTENT[:500], CONTENT[500:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(head + body + b"0\r\n\r\n") as address:
        settings.PACKAGE_HOSTS = (address,)
        assert fetch.fetch(f"http://{address}/p").sha256 == sha256(CONTENT)
    with answering(head + body) as address:
        settings.PACKAGE_HOSTS = (address,)
        assert refusal(f"http://{address}/p").code == "package_unreachable"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Header: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000 + b"\r\n",
        b"",
    ],
)
def test_it_gives_up_on_an_answer_that_is_no_http(answer: bytes, store: PackageStore, settings: Settings) -> None:
    with answering(answer) as address:
        settings.PACKAGE_HOSTS = (address,)
        assert refusal(f"http://{address}/p").code == "package_unreachable"


def test_it_gives_up_on_a_slow_drip_at_the_deadline(
    store: PackageStore, package_host: PackageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(deadline_seconds=1))
    package_host.add("p.tar.gz", LARGE)
    began = time.monotonic()
    error = refusal(package_host.behave("p.tar.gz", Behaviour(chunk_bytes=10, pause_seconds=0.05)))
    assert error.code == "package_unreachable"
    assert "not there after 1 seconds" in str(error)
    assert time.monotonic() - began < 8


def test_it_gives_up_on_a_silent_host_without_waiting_for_the_deadline(
    store: PackageStore, package_host: PackageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned_http, "READ_SECONDS", 0.2)
    package_host.add("p.tar.gz", CONTENT)
    began = time.monotonic()
    error = refusal(package_host.behave("p.tar.gz", Behaviour(silent_seconds=30)))
    assert error.code == "package_unreachable"
    assert time.monotonic() - began < 10


def test_it_gives_up_on_an_endless_body_at_the_byte_cap(store: PackageStore, package_host: PackageHost) -> None:
    package_host.add("p.tar.gz", CONTENT)
    error = refusal(package_host.behave("p.tar.gz", Behaviour(endless=True)))
    assert error.code == "package_too_large"
    assert len(package_host.requests) == 1
    assert left_behind(store) == []


def test_it_refuses_a_body_that_is_said_to_be_too_large_unread(store: PackageStore, settings: Settings) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\n") as address:
        settings.PACKAGE_HOSTS = (address,)
        error = refusal(f"http://{address}/p")
    assert error.code == "package_too_large"
    assert "larger than 8388608 bytes" in str(error)


def test_it_reads_no_body_of_a_redirect(store: PackageStore, package_host: PackageHost, settings: Settings) -> None:
    """A client that drains it before it goes on would take an endless one into memory."""
    target = package_host.add("p.tar.gz", CONTENT)
    head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with answering(head, then_wait=True) as address:
        settings.PACKAGE_HOSTS = (package_host.netloc, address)
        began = time.monotonic()
        assert fetch.fetch(f"http://{address}/p").sha256 == sha256(CONTENT)
    assert time.monotonic() - began < 8


# Stopping.


def test_a_cancel_ends_a_slow_download_within_two_seconds(store: PackageStore, package_host: PackageHost) -> None:
    package_host.add("p.tar.gz", LARGE)
    url = package_host.behave("p.tar.gz", Behaviour(silent_seconds=30))
    assert_it_stops(url, store)


def test_a_cancel_ends_the_wait_before_another_attempt(
    store: PackageStore, package_host: PackageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(first_pause_seconds=30, longest_pause_seconds=30))
    assert_it_stops(package_host.behave("p.tar.gz", Behaviour(status=500)), store)


def test_a_cancel_ends_the_making_of_a_connection(store: PackageStore, settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        settings.PACKAGE_HOSTS = (address,)
        # With its queue full, the kernel answers no further connection.
        with ExitStack() as fillers:
            for _ in range(3):
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            assert_it_stops(f"http://{address}/p", store)


def test_a_cancel_ends_a_hanging_look_up_of_a_name(
    store: PackageStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PACKAGE_HOSTS = ("packages.example",)
    answer = threading.Event()

    def hang(*arguments: object, **options: object) -> list[object]:
        answer.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert_it_stops("http://packages.example/p", store, may_leave_thread=True)
    answer.set()


def assert_it_stops(url: str, store: PackageStore, *, may_leave_thread: bool = False) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(FetchStopped):
        fetch.fetch(url, should_stop=stop.is_set)
    timer.join()
    assert time.monotonic() - began < 6
    assert left_behind(store) == []
    assert may_leave_thread or not downloading()


def downloading() -> list[threading.Thread]:
    """The downloads' threads that are still there after a moment."""
    threads = [thread for thread in threading.enumerate() if thread.name == "download"]
    for thread in threads:
        thread.join(3)
    return [thread for thread in threads if thread.is_alive()]


def test_both_callbacks_are_called_in_the_callers_thread(store: PackageStore, package_host: PackageHost) -> None:
    package_host.add("p.tar.gz", CONTENT)
    threads: set[int] = set()

    def note(text: object) -> None:
        threads.add(threading.get_ident())

    def should_stop() -> bool:
        threads.add(threading.get_ident())
        return False

    fetch.fetch(package_host.behave("p.tar.gz", Behaviour(status=500, times=1)), should_stop=should_stop, on_note=note)
    assert threads == {threading.get_ident()}


def test_it_leaves_no_thread_and_no_open_file(store: PackageStore, package_host: PackageHost) -> None:
    package_host.add("p.tar.gz", LARGE)
    url = package_host.behave("p.tar.gz", Behaviour(cut_after=100_000, ranges=False))
    refusal(url)
    refusal(package_host.url("missing"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        refusal(url)
        refusal(package_host.url("missing"))
    assert abs(len(os.listdir("/proc/self/fd")) - before) <= 2
    assert not downloading()


# The wrong bytes (FAULTS.md, row 23).


def test_it_refuses_a_package_with_another_sha256(store: PackageStore, package_host: PackageHost) -> None:
    error = refusal(package_host.add("p.tar.gz", CONTENT), expected_sha256="0" * 64)
    assert error.code == "package_checksum_mismatch"
    assert sha256(CONTENT) in str(error)
    assert "0" * 64 in str(error)
    assert left_behind(store) == []
    assert len(package_host.requests) == 1


def test_it_refuses_an_unsafe_package_and_says_which_and_why(store: PackageStore, package_host: PackageHost) -> None:
    error = refusal(package_host.add("p.tar.gz", hostile.tar(hostile.file("../x"))))
    assert error.code == "package_unsafe"
    assert package_host.url("p.tar.gz") in str(error)
    assert "'../x'" in str(error)
    assert left_behind(store) == []


def test_it_says_what_the_host_takes_a_sign_in_page_for(store: PackageStore, package_host: PackageHost) -> None:
    package_host.add("p.tar.gz", b"<!doctype html>sign in")
    url = package_host.behave("p.tar.gz", Behaviour(headers={"Content-Type": "text/html"}))
    error = refusal(url)
    assert error.code == "package_invalid"
    assert "'text/html'" in str(error)


def test_it_takes_the_bytes_of_a_host_that_mistakes_gzip_for_an_encoding(
    store: PackageStore, package_host: PackageHost
) -> None:
    package_host.add("p.tar.gz", CONTENT)
    url = package_host.behave("p.tar.gz", Behaviour(headers={"Content-Encoding": "x-gzip"}))
    assert fetch.fetch(url).sha256 == sha256(CONTENT)


@contextmanager
def answering(answer: bytes, *, then_wait: bool = False) -> Iterator[str]:
    """A host that says the same to everybody; the address it has."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(answer)
                    if then_wait:
                        done.wait(5)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
