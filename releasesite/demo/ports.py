"""Loopback ports: which are free, and who holds the others."""

from __future__ import annotations

import socket
from collections.abc import Collection

import psutil


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int, *, avoid: Collection[int] = ()) -> int:
    """`preferred` if it is free, else any other."""
    if preferred not in avoid and is_free(preferred):
        return preferred
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in avoid:
            return port


def holder(port: int) -> str:
    """Who listens there, for people: "gunicorn (pid 4711)"; vague when the system does not tell us."""
    try:
        pids = [found.pid for found in psutil.net_connections("tcp") if is_listener(found, port) and found.pid]
    except psutil.Error:
        pids = []
    for pid in pids:
        try:
            return f"{psutil.Process(pid).name()} (pid {pid})"
        except psutil.Error:
            continue
    return "a process of another user"


def is_listener(connection: psutil._common.sconn, port: int) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port)
