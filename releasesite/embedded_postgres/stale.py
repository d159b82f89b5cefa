"""What a server that was killed, or whose machine went down, leaves behind."""

from __future__ import annotations

from pathlib import Path

import psutil


def remove_stale_marks(data: Path, run: Path) -> bool:
    """True once no server of this cluster lives; its pid file goes, since its number may be another process's by now."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return True
    if _is_postmaster(pid, data):
        return False
    for mark in (pid_file, *run.glob(".s.PGSQL.*")):
        mark.unlink(missing_ok=True)
    return True


def _is_postmaster(pid: int, data: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and Path(process.cwd()) == data.resolve()
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
