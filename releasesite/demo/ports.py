"""Loopback ports: which are free, and who holds the others."""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection

import psutil

# Held until the process ends.
RESERVED: list[socket.socket] = []


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int = 0, *, avoid: Collection[int] = ()) -> int:
    """`preferred` if it is free, else any other. It is this process's own from here on, among demos."""
    if preferred and preferred not in avoid and is_free(preferred) and reserve(preferred):
        return preferred
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in avoid and reserve(port):
            return port


def reserve(port: int) -> bool:
    """False when another demo that is just starting means to use it. Linux only: a name in no file system."""
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0release-demo-port-{port}")
    except OSError:
        claim.close()
        return False
    RESERVED.append(claim)
    return True


def holder(port: int) -> str:
    """Who listens there, for people: "gunicorn (pid 4711)"; vague when the system does not tell us."""
    for pid in listeners(port):
        try:
            return f"{psutil.Process(pid).name()} (pid {pid})"
        except psutil.Error:
            continue
    return "a process of another user"


def listeners(port: int) -> list[int]:
    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:
        return []
    listening = [(each.pid, each.laddr) for each in found if each.status == psutil.CONN_LISTEN]
    return [pid for pid, address in listening if pid and address and address.port == port]
