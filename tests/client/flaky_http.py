"""An HTTP proxy that answers as told instead of, or after, handing a request on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


class Fault(Enum):
    """What happens to the connection of a request."""

    CUT_BEFORE = "closed before the request is handed on"
    CUT_AFTER = "closed when the server has answered, before a byte of that is handed on"
    CUT_IN_ANSWER = "closed in the middle of the answer"


@dataclass(kw_only=True)
class FlakyHttp:
    """faults: of the next requests with this method, in turn: a Fault, or the status to answer instead of the
    server; None: handed on as it is.
    """

    port: int
    target: str
    method: str = "POST"
    faults: list[Fault | int | None] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def flaky_http(target: str) -> Iterator[FlakyHttp]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    flaky = FlakyHttp(port=server.server_address[1], target=target)
    server.flaky = flaky  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield flaky
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_any(self) -> None:
        flaky: FlakyHttp = self.server.flaky  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = None
        if self.command == flaky.method:
            flaky.bodies.append(body)
            fault = flaky.faults.pop(0) if flaky.faults else None
        self._answer(flaky.target, body, fault)

    do_GET = do_POST = do_PUT = do_DELETE = do_any

    def _answer(self, target: str, body: bytes, fault: Fault | int | None) -> None:
        match fault:
            case int(status):
                self._send(status, {"Retry-After": "1", "Content-Type": "text/html"}, b"<html>not now</html>")
                return
            case Fault.CUT_BEFORE:
                self.close_connection = True
                return
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "content-length")}
        answer = requests.request(self.command, target + self.path, data=body, headers=headers, timeout=60)
        if fault == Fault.CUT_AFTER:
            self.close_connection = True
            return
        kept = {key: answer.headers[key] for key in ("Content-Type", "ETag") if key in answer.headers}
        self._send(answer.status_code, kept, answer.content, is_cut=fault == Fault.CUT_IN_ANSWER)

    def _send(self, status: int, headers: dict[str, str], content: bytes, *, is_cut: bool = False) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.close_connection = is_cut

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()
