"""A TCP proxy on loopback that fails the way networks do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK_BYTES = 16 * 1024


class TcpProxy:
    """Passes connections on to 127.0.0.1:`target` until it is told to misbehave."""

    def __init__(self, target: int) -> None:
        self.connections = 0
        self.sent_bytes = 0
        self._target = target
        self._cut_after: int | None = None
        self._is_cutting_once = False
        self._stall_after: int | None = None
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, sent_bytes: int | None, *, once: bool = False) -> None:
        """Cut each connection once the client has sent this many bytes more over the proxy; None: never."""
        self._is_cutting_once = once
        self._cut_after = None if sent_bytes is None else self.sent_bytes + sent_bytes

    def cut(self) -> None:
        """Reset every open connection now."""
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._sockets.clear()

    def stall(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._flowing.clear()

    def stall_after(self, sent_bytes: int) -> None:
        """Stall once the client has sent this many bytes more, before any byte after them gets through."""
        self._stall_after = self.sent_bytes + sent_bytes

    @property
    def is_stalled(self) -> bool:
        return not self._flowing.is_set()

    def flow(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flow()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_upstream: bool) -> None:
        try:
            while data := source.recv(_CHUNK_BYTES):
                self._flowing.wait()
                sink.sendall(data)
                if is_upstream:
                    self._count(len(data))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _count(self, size: int) -> None:
        self.sent_bytes += size
        if self._stall_after is not None and self.sent_bytes >= self._stall_after:
            self._stall_after = None
            self.stall()
        if self._cut_after is not None and self.sent_bytes >= self._cut_after:
            if self._is_cutting_once:
                self._cut_after = None
            self.cut()


@contextmanager
def tcp_proxy(target: int) -> Iterator[TcpProxy]:
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
