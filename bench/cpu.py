"""Processor time of process trees: unlike the clock on the wall it hardly depends on what else the machine does."""

from __future__ import annotations

import psutil


def cpu_seconds(pid: int) -> float:
    """What this process and all below it have used so far, those that ended and were waited for included."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_own_and_reaped(process) for process in family)


def _own_and_reaped(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
