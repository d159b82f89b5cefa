"""A network of its own with hosts on it: namespaces on a bridge, each with an address, that can be cut off.

This machine is on it too, as `GATEWAY`: PostgreSQL, the nodes and the package host of a test live there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

PREFIX = "198.18.77"
NETWORK = f"{PREFIX}.0/24"
GATEWAY = f"{PREFIX}.1"
HIDDEN = "198.18.78"


@dataclass(frozen=True, kw_only=True)
class Host:
    name: str
    address: str
    cable: str

    @property
    def within(self) -> Sequence[str]:
        """What makes the command behind it run there."""
        return ("ip", "netns", "exec", self.name)

    def cut_off(self) -> None:
        """As when the cable is pulled: nobody is told, packets are lost."""
        _ip("link", "set", self.cable, "down")

    def reconnect(self) -> None:
        _ip("link", "set", self.cable, "up")


@contextmanager
def network_of(count: int, *, prefix: str = PREFIX) -> Iterator[list[Host]]:
    """prefix: another one for each test file, as files run beside each other."""
    _require_what_it_takes()
    bridge = f"rel{os.getpid()}"[:12]
    hosts = [
        Host(name=f"{bridge}h{number}", address=f"{prefix}.{number + 1}", cable=f"{bridge}c{number}")
        for number in range(1, count + 1)
    ]
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{prefix}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in hosts:
            _plug_in(host, bridge)
        yield hosts
    finally:
        for host in hosts:
            _ip("netns", "delete", host.name, check=False)
            _ip("link", "delete", host.cable, check=False)
        _ip("link", "delete", bridge, check=False)


@contextmanager
def behind(host: Host) -> Iterator[Host]:
    """One more, that the given one alone can reach: this machine has no way to it."""
    name, cable = f"{host.name}b", f"{host.cable}b"
    try:
        _ip("netns", "add", name)
        _ip("-n", host.name, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        for where, device, address in ((host.name, cable, f"{HIDDEN}.1"), (name, "eth0", f"{HIDDEN}.2")):
            _ip("-n", where, "address", "add", f"{address}/24", "dev", device)
            _ip("-n", where, "link", "set", device, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield Host(name=name, address=f"{HIDDEN}.2", cable=cable)
    finally:
        _ip("netns", "delete", name, check=False)


def _plug_in(host: Host, bridge: str) -> None:
    _ip("netns", "add", host.name)
    _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
    _ip("link", "set", host.cable, "master", bridge, "up")
    _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
    _ip("-n", host.name, "link", "set", "eth0", "up")
    _ip("-n", host.name, "link", "set", "lo", "up")


def _require_what_it_takes() -> None:
    if shutil.which("ip") is None:
        pytest.fail("ip is missing: install iproute2 (`make test` does, where it may)")
    if os.geteuid() != 0:
        pytest.fail("root is missing: network namespaces can be made by root alone (in a container: --privileged)")


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(("ip", *arguments), capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        pytest.fail(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
