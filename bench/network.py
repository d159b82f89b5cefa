"""A network namespace for the nodes, reached by two ways: a cable as fast as this machine, and a shaped link (bench/link.py).

What goes over either is counted by the kernel, for every tool alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
MEGABITS_PER_SECOND = 100
# Each way: a round trip takes twice as long.
DELAY_MILLISECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Way:
    """address: of the far side. device: ours."""

    name: str
    address: str
    device: str

    def bytes_so_far(self) -> int:
        """In both directions, headers included."""
        counters = Path("/sys/class/net", self.device, "statistics")
        return sum(int((counters / each).read_text()) for each in ("tx_bytes", "rx_bytes"))


@dataclass(frozen=True, kw_only=True)
class FarSide:
    """within: what makes the command behind it run there."""

    within: Sequence[str]
    cable: Way
    link: Way


@contextmanager
def far_side() -> Iterator[FarSide]:
    """Raises PermissionError where no namespace can be made."""
    if os.geteuid() != 0:
        raise PermissionError("network namespaces can be made by root alone")
    name = f"bench{os.getpid()}"[:12]
    network = 100 + 2 * (os.getpid() % 70)  # two benchmarks at once have no address in common
    with ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "delete", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
        cable = _way("cable", f"{name}v", "eth0", name, prefix=f"198.18.{network}")
        stack.enter_context(_shaped(f"{name}t", f"{name}u", name))
        link = _way("link", f"{name}t", f"{name}u", name, prefix=f"198.18.{network + 1}")
        yield FarSide(within=("ip", "netns", "exec", name), cable=cable, link=link)


@contextmanager
def _shaped(near: str, far: str, namespace: str) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.link", near, far, str(MEGABITS_PER_SECOND), str(DELAY_MILLISECONDS)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        _ip("link", "set", far, "netns", namespace)
        yield
    finally:
        process.kill()
        process.wait()


def _way(name: str, near: str, far: str, namespace: str, *, prefix: str) -> Way:
    for within, device, address in (((), near, f"{prefix}.1/24"), (("-n", namespace), far, f"{prefix}.2/24")):
        _ip(*within, "address", "add", address, "dev", device)
        _ip(*within, "link", "set", device, "up")
    return Way(name=name, address=f"{prefix}.2", device=near)


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, stdout=subprocess.DEVNULL)
