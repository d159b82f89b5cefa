"""How much of its commands' output one target may add to its operation's log, which is bounded as a whole.

Half of the room is divided among the operation's targets, so that each has some whatever the others print; the other half
is for whoever comes first. What finds no room is counted, and the newest of it kept: they are written, behind a mark, when
the target has something else to say, at its end at the latest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LINES = 200_000
MOST_BYTES = 64 * 1024 * 1024
LAST_LINES = 10
LAST_CHARACTERS = 400


def no_room_for(count: int) -> str:
    return f"[{count:,} lines left out: no more room in this operation's log]"


def size_of(text: str) -> int:
    return len(text.encode())


@dataclass
class LogSize:
    """Of one operation: what is stored, by the newest transaction's word, and what waits in this process."""

    lines: int = 0
    bytes: int = 0
    _stored_lines: int = 0
    _stored_bytes: int = 0

    def add(self, text: str) -> None:
        self.lines += 1
        self.bytes += size_of(text)

    def now_stored(self, lines: int, size: int, *, own: Sequence[str]) -> None:
        """own: what was added here, and is now stored; the rest of what is new comes from other processes."""
        self.lines += lines - self._stored_lines - len(own)
        self.bytes += size - self._stored_bytes - sum(map(size_of, own))
        self._stored_lines, self._stored_bytes = lines, size


@dataclass(frozen=True)
class Output:
    """A line of a command's. step, stream: as in the log."""

    step: str
    stream: str
    text: str


class LogShare:
    """targets: how many the operation has."""

    def __init__(self, *, targets: int, size: LogSize) -> None:
        self._size = size
        self._own_lines = MOST_LINES // 2 // max(1, targets)
        self._own_bytes = MOST_BYTES // 2 // max(1, targets)
        self._lines = 0
        self._bytes = 0
        self._last: deque[Output] = deque(maxlen=LAST_LINES)
        self._left_out = 0

    def has_room(self, output: Output) -> bool:
        """Whether it is to be written now. If not, it is remembered here."""
        self._lines += 1
        self._bytes += len(output.text)
        is_own = self._lines <= self._own_lines and self._bytes <= self._own_bytes
        is_common = self._size.lines < MOST_LINES // 2 and self._size.bytes < MOST_BYTES // 2
        if is_own or (is_common and not self._left_out):
            return True
        self._left_out += 1
        self._last.append(output)
        return False

    def rest(self) -> Sequence[Output]:
        """What is to be written of what found no room; empty if there was room for all."""
        left_out, last = self._left_out - len(self._last), list(self._last)
        self._left_out = 0
        self._last.clear()
        if not last:
            return []
        mark = [Output(last[0].step, "system", no_room_for(left_out))] if left_out else []
        return [*mark, *(Output(each.step, each.stream, _shortened(each.text)) for each in last)]


def _shortened(text: str) -> str:
    return text if len(text) <= LAST_CHARACTERS else text[: LAST_CHARACTERS - 1] + "…"
