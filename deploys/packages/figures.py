"""How much, how long and how fast, as a log tells it: the same in each language. Pure."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB")


def size(count: float) -> str:
    unit = _UNITS[0]
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == _UNITS[0] else f"{count:.1f} {unit}"


def rounded(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}"


def speed(count: int, seconds: float) -> str:
    return f"{size(count / max(seconds, 0.001))}/s"
