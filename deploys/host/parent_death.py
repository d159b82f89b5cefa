"""No orphans: the kernel kills a process when its parent dies, prctl(2), PR_SET_PDEATHSIG.

"Parent" there is the thread that forked: a child forked by a thread dies when that thread ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

# Looked up at import: between fork and the call, no lock may be needed that another thread held.
_libc = ctypes.CDLL(None, use_errno=True)
_forking_pid = 0


def die_with_parent(parent_pid: int) -> None:
    """SIGKILL for this process when parent_pid dies; at once when it is no longer our parent."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def bind_every_fork() -> None:
    """Makes every process forked from here on, at any depth, die with its parent. Programs that are run are free."""
    os.register_at_fork(before=_note_who_forks, after_in_child=lambda: die_with_parent(_forking_pid))


def _note_who_forks() -> None:
    global _forking_pid
    _forking_pid = os.getpid()
