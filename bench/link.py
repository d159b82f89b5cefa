"""`python -m bench.link NEAR FAR MBIT_S DELAY_MS`: two TUN devices and what is between them: a rate, and a delay each way.

tc's netem does this in the kernel, where the kernel has it; this does it wherever there is /dev/net/tun, packet by packet, so
that TCP meets a real link: slow start, round trips, a queue that overflows. It ends with its stdin.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_BYTES = 65_536
# As many as netem holds; more than the link's rate times its delay.
QUEUE_PACKETS = 1_000
PACKETS_AT_ONCE = 64


@dataclass(kw_only=True)
class Way:
    """One direction. A packet leaves when those before it have, and is there `delay_seconds` later."""

    source: int
    sink: int
    bytes_per_second: float
    delay_seconds: float
    _free_at: float = 0.0
    _packets: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self) -> None:
        for _ in range(PACKETS_AT_ONCE):
            try:
                packet = os.read(self.source, PACKET_BYTES)
            except BlockingIOError:
                return
            if len(self._packets) >= QUEUE_PACKETS:
                continue  # lost, as where a router's queue is full
            self._free_at = max(self._free_at, time.monotonic()) + len(packet) / self.bytes_per_second
            self._packets.append((self._free_at + self.delay_seconds, packet))

    def deliver(self, now: float) -> None:
        while self._packets and self._packets[0][0] <= now:
            # EIO: that end is not up yet, or any more.
            with suppress(OSError):
                os.write(self.sink, self._packets.popleft()[1])

    def next_at(self) -> float:
        return self._packets[0][0] if self._packets else float("inf")


def device(name: str) -> int:
    """A TUN device; who started us may move it into another network namespace."""
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return opened


def main() -> None:
    near_name, far_name, megabits_per_second, delay_milliseconds = sys.argv[1:]
    near, far = device(near_name), device(far_name)
    print("ready", flush=True)
    rate, delay = float(megabits_per_second) * 1e6 / 8, float(delay_milliseconds) / 1000
    forward([_way(near, far, rate, delay), _way(far, near, rate, delay)])


def _way(source: int, sink: int, rate: float, delay: float) -> Way:
    return Way(source=source, sink=sink, bytes_per_second=rate, delay_seconds=delay)


def forward(ways: list[Way]) -> None:
    by_source = {way.source: way for way in ways}
    poll = select.poll()
    for source in (*by_source, sys.stdin.fileno()):
        poll.register(source, select.POLLIN)
    while True:
        left = min(way.next_at() for way in ways) - time.monotonic()
        ready = poll.poll(None if left == float("inf") else max(0.0, left * 1000))
        for source, _event in ready:
            if source not in by_source:
                return
            by_source[source].take()
        now = time.monotonic()
        for way in ways:
            way.deliver(now)


if __name__ == "__main__":
    main()
