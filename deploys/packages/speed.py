"""Whether a connection brings bytes fast enough, by the kernel's own count: headers, TLS and chunk lines included."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import termios
import time
from collections import deque
from dataclasses import dataclass

# struct tcp_info of linux/tcp.h, since Linux 4.1.
_BYTES_RECEIVED = struct.Struct("=128xQ")
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class LowestSpeed:
    """The same as the node program asks of curl."""

    bytes_a_second: int = 1000
    over_seconds: float = 30


LOWEST_SPEED = LowestSpeed()


class Meter:
    """Of one connection, from now on. What has come and was not read by us yet is no slowness of the host's."""

    def __init__(self, sock: socket.socket, lowest: LowestSpeed) -> None:
        self._sock = sock
        self._lowest = lowest
        self._samples = deque([(time.monotonic(), _received(sock))])

    def slowness(self) -> str:
        """'' while it is fast enough; else what came in which time. To be asked a few times a second."""
        now = time.monotonic()
        if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._take_sample(now)
        (since, before), (until, received) = self._samples[0], self._samples[-1]
        seconds = until - since
        if seconds < self._lowest.over_seconds or received - before >= seconds * self._lowest.bytes_a_second:
            return ""
        return f"it sent {received - before} bytes in {seconds:.0f} s, and {self._lowest.bytes_a_second} a second are the least"

    def _take_sample(self, now: float) -> None:
        if _unread(self._sock):
            self._samples.clear()
        self._samples.append((now, _received(self._sock)))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._lowest.over_seconds:
            self._samples.popleft()


def _received(sock: socket.socket) -> int:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
    (received,) = _BYTES_RECEIVED.unpack(info)
    return int(received)


def _unread(sock: socket.socket) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, count)
    return count[0]
