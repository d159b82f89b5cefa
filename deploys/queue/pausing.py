"""The pipe that says "not yet": a paused worker host claims nothing.

As `draining`: the supervisor holds the write end and never writes, its clusters inherit the read end, and end of file
there means that the pause is over.
"""

from __future__ import annotations

import os
import select

VARIABLE = "RELEASE_PAUSE_PIPE_FD"


def is_paused() -> bool:
    value = os.environ.get(VARIABLE)
    if not value:
        return False
    poll = select.poll()
    poll.register(int(value), select.POLLIN)
    return not poll.poll(0)
