"""A real HTTP server on a free loopback port that serves a folder, remembers every request, and can misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How one path is answered.

    times: for the first so many requests only, well-behaved from then on; None: always.
    cut_after: the connection closes after so many bytes of the body.
    endless: zeros follow the file for ever. silent: not a byte comes, for so many seconds. signed: only a request with
    this query is answered, any other with 403.
    """

    status: int = 200
    redirect_to: str = ""
    times: int | None = None
    cut_after: int | None = None
    content_length: bool = True
    ranges: bool = True
    etag: bool = True
    chunk_bytes: int = CHUNK_BYTES
    pause_seconds: float = 0.0
    silent_seconds: float = 0.0
    endless: bool = False
    signed: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


GOOD = Behaviour()


class PackageHost:
    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.bytes_sent = 0
        self._behaviours: dict[str, Behaviour] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server((address, 0), _Handler)
        self._server.package_host = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def netloc(self) -> str:
        """What RELEASE_PACKAGE_HOSTS has to allow."""
        return f"127.0.0.1:{self.port}"

    def url(self, name: str) -> str:
        return f"http://{self.netloc}/{name}"

    def add(self, name: str, content: bytes) -> str:
        """Serves these bytes under that name, and gives the URL."""
        (self.folder / name).write_bytes(content)
        return self.url(name)

    def behave(self, name: str, behaviour: Behaviour) -> str:
        with self._lock:
            self._behaviours[f"/{name}"] = behaviour
        return self.url(name)

    def requests_for(self, name: str) -> list[Request]:
        return [request for request in list(self.requests) if urlsplit(request.path).path == f"/{name}"]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def next_behaviour(self, path: str) -> Behaviour:
        with self._lock:
            behaviour = self._behaviours.get(path, GOOD)
            if behaviour.times is None:
                return behaviour
            if behaviour.times == 0:
                return GOOD
            self._behaviours[path] = replace(behaviour, times=behaviour.times - 1)
            return behaviour

    def pause(self, seconds: float) -> bool:
        """False when the host stops meanwhile."""
        return not self._closing.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    package_host: PackageHost


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        host = self.server.package_host
        path = unquote(urlsplit(self.path).path)
        host.requests.append(Request(method=self.command, path=self.path, headers=dict(self.headers.items())))
        behaviour = host.next_behaviour(path)
        if not host.pause(behaviour.silent_seconds):
            return
        if behaviour.redirect_to:
            self._send_bare(behaviour.status if 300 <= behaviour.status < 400 else 302, behaviour)
            return
        if behaviour.signed and urlsplit(self.path).query != behaviour.signed:
            self._send_bare(403, behaviour)
            return
        file = host.folder / path.lstrip("/")
        if behaviour.status != 200 or not file.is_file():
            self._send_bare(behaviour.status if behaviour.status != 200 else 404, behaviour)
            return
        self._send_file(file.read_bytes(), behaviour, with_body=with_body)

    def _send_bare(self, status: int, behaviour: Behaviour) -> None:
        self.send_response(status)
        if behaviour.redirect_to:
            self.send_header("Location", behaviour.redirect_to)
        for name, value in behaviour.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_file(self, content: bytes, behaviour: Behaviour, *, with_body: bool) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        first = self._wanted_start(len(content), etag) if behaviour.ranges else 0
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if behaviour.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if behaviour.etag:
            self.send_header("ETag", etag)
        if behaviour.content_length and not behaviour.endless:
            self.send_header("Content-Length", str(len(content) - first))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        for name, value in behaviour.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self._send_body(content[first:], behaviour)

    def _wanted_start(self, size: int, etag: str) -> int:
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes=") or self.headers.get("If-Range", etag) != etag:
            return 0
        first = int(wanted.removeprefix("bytes=").split("-")[0] or 0)
        return first if first < size else 0

    def _send_body(self, content: bytes, behaviour: Behaviour) -> None:
        for chunk in _chunks(content, behaviour):
            if not self.server.package_host.pause(behaviour.pause_seconds):
                break
            try:
                self.wfile.write(chunk)
            except OSError:
                self.close_connection = True
                return
            self.server.package_host.bytes_sent += len(chunk)
        if behaviour.cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return


def _chunks(content: bytes, behaviour: Behaviour) -> Iterator[bytes]:
    body = content if behaviour.cut_after is None else content[: behaviour.cut_after]
    for start in range(0, len(body), behaviour.chunk_bytes):
        yield body[start : start + behaviour.chunk_bytes]
    while behaviour.endless:
        yield bytes(behaviour.chunk_bytes)


@contextmanager
def serving(folder: Path) -> Iterator[PackageHost]:
    host = PackageHost(folder)
    host.start()
    try:
        yield host
    finally:
        host.stop()


@pytest.fixture
def package_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageHost]:
    """Serves an empty folder: `package_host.add(name, content)` gives a URL."""
    with serving(tmp_path_factory.mktemp("packages")) as host:
        yield host
