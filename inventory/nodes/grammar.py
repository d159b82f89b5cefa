"""What a program of ours may say on a node, and the one place where it is checked before anything of it is kept.

A table has a row for each kind of frame: what its words look like, how often it may come in one call, and behind what.
Here is that of base.sh; deploys/node/grammar.py has that of program.sh. Whoever lets a program say something new adds
it to its table: what is not there ends the call as NodeMisbehaved.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inventory.nodes.transports.base import NodeMisbehaved, shown

BEGUN, OVER = "begun", "over"
# What our programs cut their texts to is less (`flatten` in program.sh).
LONGEST_TEXT = 4000
# The part of a frame that may be any text: the only one that is not believed to be more than that, and cleaned.
TEXT = rf"(?P<text>.{{0,{LONGEST_TEXT}}})"
FILE_NAME = r"(?P<text>.{0,255})"
NUMBER = r"(?:0|[1-9][0-9]{0,18})"
RELEASE = r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,254}"
# KIND RELEASE VERSION SHA256, the last two as a file on the node has them.
CURRENT = rf"(?:none - - -|(?:release {RELEASE}|elsewhere -) [A-Za-z0-9._+-]{{1,1000}} (?:-|[0-9a-f]{{1,1000}}))"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One row. name: the frame's first word, or its first two, where `rest` is nothing (`step switch`).

    rest: a pattern of what follows. most: in one call. after: the names that may come directly before; () for none.
    """

    name: str
    rest: str = ""
    most: int = 1
    after: tuple[str, ...]


Table = Mapping[str, Frame]


def table(*frames: Frame) -> Table:
    return {frame.name: frame for frame in frames}


MOST_LISTED = 50


def survey_table(roots: int) -> Table:
    """Of base.sh's task `survey`."""
    listed = ("current", "elsewhere", "theirs", "stuck")
    return table(
        Frame(name=BEGUN, after=()),
        Frame(name="current", rest=CURRENT, most=roots, after=(BEGUN, *listed)),
        # Where a link leads that leads to no release.
        Frame(name="elsewhere", rest=TEXT, most=roots, after=("current",)),
        Frame(name="theirs", rest=FILE_NAME, most=MOST_LISTED * roots, after=("current", "elsewhere", "theirs")),
        Frame(name="stuck", rest=rf"{NUMBER} /{TEXT}", most=MOST_LISTED * roots, after=listed),
        Frame(name=OVER, after=listed),
    )


def processes_table(roots: int) -> Table:
    """Of base.sh's task `processes`."""
    return table(
        Frame(name=BEGUN, after=()),
        Frame(name="process", rest=f"{NUMBER} {TEXT}", most=roots, after=(BEGUN, "process")),
        Frame(name=OVER, after=(BEGUN, "process")),
    )


def check_table(roots: int) -> Table:
    """Of base.sh's task `check`."""
    seen = (BEGUN, "missing", "unwritable", "nolink", "room")
    return table(
        Frame(name=BEGUN, after=()),
        Frame(name="missing", rest=TEXT, after=(BEGUN,)),
        Frame(name="unwritable", rest=TEXT, most=3 * roots, after=seen),
        Frame(name="nolink", rest=TEXT, most=roots, after=seen),
        # Kilobytes, and what is mounted there.
        Frame(name="room", rest=rf"[!-~]{{1,100}} {TEXT}", most=roots, after=seen),
        Frame(name=OVER, after=seen),
    )


def kilobytes(room: str) -> int | None:
    """Of a `room` frame; None when the node does not say."""
    free = room.partition(" ")[0]
    return int(free) if free.isdecimal() else None


class FrameCheck:
    """Of the frames of one call, in the order in which they come."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._counts: Counter[str] = Counter()
        self._last: str | None = None

    def take(self, frame: str) -> tuple[str, str]:
        """Its first word, and the rest, safe to keep and to show. Raises NodeMisbehaved: our program does not say that."""
        row = self._row(frame)
        match = _pattern(row.rest).fullmatch(frame[len(row.name) :])
        if match is None:
            raise NodeMisbehaved(f"`{row.name}` out of form", said=frame)
        if self._last not in (row.after or (None,)):
            raise NodeMisbehaved(f"`{row.name}` out of order", said=frame)
        self._counts[row.name] += 1
        if self._counts[row.name] > row.most:
            raise NodeMisbehaved(f"`{row.name}` more often than {row.most} times", said=frame)
        self._last = row.name
        word, _, rest = _with_safe_text(frame, len(row.name), match).partition(" ")
        return word, rest

    def take_all(self, frames: Iterable[str]) -> list[tuple[str, str]]:
        return [self.take(frame) for frame in frames]

    def _row(self, frame: str) -> Frame:
        first = frame.partition(" ")[0]
        row = self._table.get(frame) or self._table.get(first)
        if row is None:
            raise NodeMisbehaved("words it does not have", said=frame)
        return row


_PATTERNS: dict[str, re.Pattern[str]] = {}


def _pattern(rest: str) -> re.Pattern[str]:
    if rest not in _PATTERNS:
        _PATTERNS[rest] = re.compile(f" (?:{rest})" if rest else "", re.DOTALL)
    return _PATTERNS[rest]


def _with_safe_text(frame: str, offset: int, match: re.Match[str]) -> str:
    if match.groupdict().get("text") is None:
        return frame
    return frame[: offset + match.start("text")] + shown(match["text"], LONGEST_TEXT)
