"""A forward proxy: CONNECT, and whole URLs for http. It remembers what it was asked for, and looks names up itself."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass(kw_only=True)
class Asked:
    """Each request line's method and target, with its headers; what is done with them."""

    lines: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    status: int = 200
    port: int = 0

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    def targets(self) -> list[str]:
        return [f"{method} {target}" for method, target, _headers in self.lines]


class _Handler(BaseHTTPRequestHandler):
    asked: Asked

    def do_CONNECT(self) -> None:
        self._note()
        if self.asked.status != 200:
            self.send_error(self.asked.status)
            return
        host, _, port = self.path.rpartition(":")
        with self._connected(host, int(port)) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pass_on(self.connection, there)

    def do_GET(self) -> None:
        self._note()
        parts = urlsplit(self.path)
        path = parts._replace(scheme="", netloc="").geturl()
        kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        head = "".join(f"{name}: {value}\r\n" for name, value in (kept | {"Connection": "close"}).items())
        with self._connected(parts.hostname or "", parts.port or 80) as there:
            there.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            _pass_on(self.connection, there)

    def _connected(self, host: str, port: int) -> socket.socket:
        return socket.create_connection((self.asked.names.get(host, host), port), timeout=10)

    def _note(self) -> None:
        self.asked.lines.append((self.command, self.path, dict(self.headers.items())))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return


def _pass_on(here: socket.socket, there: socket.socket) -> None:
    with suppress(OSError):
        while True:
            ready, _, _ = select.select([here, there], [], [], 20)
            for sock in ready:
                data = sock.recv(65536)
                if not data:
                    return
                (there if sock is here else here).sendall(data)
            if not ready:
                return


@contextmanager
def connect_proxy() -> Iterator[Asked]:
    asked = Asked()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"asked": asked}))
    server.daemon_threads = True
    asked.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
