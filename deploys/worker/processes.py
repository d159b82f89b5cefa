"""Which process holds a lease, named so that another one on the same machine can prove that it is gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_ZOMBIE = "Z"


class _Stat(NamedTuple):
    state: str
    started_at: str  # in the kernel's ticks since its start: no clock can change it


def this_process() -> str:
    return process_named(os.getpid())


def process_named(number: int) -> str:
    """`BOOT/NAMESPACE/USER/PID/START`; '' where /proc does not tell, and then nobody can prove anything of it."""
    stat = _stat(number)
    place = _place()
    return f"{place}/{number}/{stat.started_at}" if place and stat is not None else ""


def is_gone(process: str) -> bool:
    """True only when it is proven: it ran under this kernel, in our process numbers, as our user, and does no more."""
    rest, _, started_at = process.rpartition("/")
    place, _, number = rest.rpartition("/")
    if not place or place != _place() or not number.isdecimal():
        return False
    stat = _stat(int(number))
    return stat is None or stat.started_at != started_at or stat.state == _ZOMBIE


def number_of(process: str) -> str:
    """The process id, for people; '' when it is not known."""
    return process.rpartition("/")[0].rpartition("/")[2]


def _place() -> str:
    """Another user's processes may be hidden from us (hidepid), another container's have numbers of their own."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(_PROC / "self/ns/pid")
        if os.readlink(_PROC / "self") != str(os.getpid()):
            return ""  # a /proc of other process numbers than ours
    except OSError:
        return ""
    return f"{boot}/{namespace}/{os.geteuid()}"


def _stat(number: int) -> _Stat | None:
    """None when there is no such process. proc(5): the name, in parentheses, may hold anything."""
    try:
        line = (_PROC / str(number) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = line.rpartition(")")[2].split()
    return _Stat(state=fields[0], started_at=fields[19])
