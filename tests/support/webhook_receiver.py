"""An HTTP server that webhooks are sent to, and that behaves as a test wants it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Headers = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Received:
    path: str
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(kw_only=True)
class Receiver:
    """status, body, headers: its answer. released: it answers while this is set. endless: it never stops to answer."""

    port: int
    status: int = 200
    body: bytes = b"ok"
    headers: Headers = field(default_factory=dict)
    endless: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    received: list[Received] = field(default_factory=list)

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}/hook"

    @property
    def ids(self) -> list[str]:
        return [each.id for each in list(self.received)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.received.append(Received(path=self.path, headers=headers, body=body))
        self.receiver.released.wait(60)
        with suppress(OSError):
            self._answer()

    def _answer(self) -> None:
        self.send_response(self.receiver.status)
        for name, value in self.receiver.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.receiver.body)
        while self.receiver.endless:
            self.wfile.write(b"x" * 65_536)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """port 0: any free one."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", port), handler)
    receiver = handler.receiver = Receiver(port=server.server_address[1])  # type: ignore[attr-defined]
    receiver.released.set()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.endless = False
        receiver.released.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as each:
        yield each
