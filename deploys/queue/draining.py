"""The pipe that says "stop taking work".

The supervisor holds the write end and never writes; all processes of its clusters inherit the read end. End of file
there means that the supervisor is stopping, or dead.
"""

from __future__ import annotations

import os
import select

VARIABLE = "RELEASE_SHUTDOWN_PIPE_FD"


def fileno() -> int | None:
    """The read end, to watch for readability; None outside of a supervisor. Not to be read, nor closed."""
    value = os.environ.get(VARIABLE)
    return int(value) if value else None


def is_draining() -> bool:
    fd = fileno()
    if fd is None:
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
