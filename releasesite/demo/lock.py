"""One demo a data folder at a time. The lock outlives nobody: the kernel lets it go when its holder dies."""

from __future__ import annotations

import fcntl
import time
from typing import IO

from releasesite.demo.layout import Layout


class AlreadyRunning(Exception):
    """str() says which process holds the demo, and its address."""


def acquire(layout: Layout, *, says: str) -> IO[str]:
    """Hold the lock until the file is closed. says: left in it for whoever comes second."""
    file = layout.lock.open("a+")
    # A service of ours may hold it for an instant, to see whether we are gone.
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
            continue
        file.truncate(0)
        file.write(says)
        file.flush()
        return file
    file.seek(0)
    holder = file.read()
    file.close()
    raise AlreadyRunning(holder)
