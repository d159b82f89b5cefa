"""The name of a worker host, as its rows and its queue messages carry it."""

from __future__ import annotations

import os
import socket


def this_worker() -> str:
    """The name of the supervisor this process works under; outside of one, a name of its own."""
    return os.environ.get("RELEASE_WORKER_NAME") or f"{socket.gethostname()}:{os.getpid()}"
