"""What is kept of one stream of a command: its start as it comes, its last lines when it ends, a mark between them.

Equal lines in a row are counted. So a command adds no more than START_LINES, END_LINES runs of equal lines and their marks
to a log, whatever it prints, and a line that nobody will see costs next to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from inventory.security.redaction import MASK, LineScrubber, clean_output, ends_key, scrub

LONGEST_LINE = 16 * 1024
START_LINES = 2_000
END_LINES = 200
END_BYTES = 64 * 1024
NEAR_END_LINES = 500
# Of equal lines in a row so many are shown; what comes after is counted.
SHOWN_OF_EQUAL = 2
CUT = "[output cut after 1 MiB]"


def more_like_it(count: int) -> str:
    return f"… {count:,} more like it"


def lines_left_out(count: int) -> str:
    return f"[{count:,} lines left out]"


@dataclass(frozen=True)
class Piece:
    """A line as it was printed, or a part of one that is too long. A secret may go on before or behind a part."""

    line: bytes
    is_cut_before: bool = False
    is_cut_after: bool = False

    @property
    def text(self) -> str:
        """Of a line that was drawn over and over (a progress bar) its last state counts."""
        return clean_output(self.line.rstrip(b"\r").rpartition(b"\r")[2])


@dataclass
class _Run:
    """Equal pieces in a row. text: None while it need not be known."""

    piece: Piece
    text: str | None
    is_behind_gap: bool
    count: int = 0
    shown: int = 0


@dataclass
class _End:
    """The newest runs of those that are not shown yet."""

    runs: deque[_Run] = field(default_factory=deque)
    held_bytes: int = 0
    lines_left_out: int = 0

    def add(self, run: _Run) -> None:
        self.runs.append(run)
        self.held_bytes += len(run.piece.line)
        while len(self.runs) > END_LINES or (self.held_bytes > END_BYTES and len(self.runs) > 1):
            oldest = self.runs.popleft()
            self.held_bytes -= len(oldest.piece.line)
            self.lines_left_out += oldest.count


class Excerpt:
    """show(text) is called for each line of the log, made safe to show."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._scrubber = LineScrubber()
        self._begin()

    def _begin(self) -> None:
        self._shown_lines = 0
        self._run: _Run | None = None
        self._end: _End | None = None
        self._is_cut = False
        self._is_behind_gap = False

    def take(self, piece: Piece, count: int = 1) -> None:
        """The next piece, printed so many times in a row."""
        run = self._run
        if run is None or run.piece != piece:
            run = self._next_run(piece)
        run.count += count
        if self._end is None:
            self._show_first_of(run)

    def take_whole(self, lines: Sequence[bytes]) -> None:
        """The next ones, none of them in parts. Where only the end is kept, most are not looked at one by one."""
        taken = 0
        for line, equal in groupby(lines):
            if self._end is not None and len(lines) - taken > NEAR_END_LINES:
                break
            count = len(list(equal))
            taken += count
            self.take(Piece(line), count)
        if taken < len(lines):
            self._take_last_of(lines[taken:])

    def _take_last_of(self, lines: Sequence[bytes]) -> None:
        assert self._end is not None
        runs = _runs(lines[-NEAR_END_LINES:])
        left_out = len(lines) - NEAR_END_LINES
        if len(runs) <= END_LINES or self._may_be_key(b"\n".join(lines)):
            runs, left_out = _runs(lines), 0
        self._end.lines_left_out += left_out
        for line, count in runs:
            self.take(Piece(line), count)

    def cut(self) -> None:
        """From here on only the end is kept, and the mark does not say of how much."""
        self._close_run()
        self._end = self._end or _End()
        self._is_cut = True
        self._show(CUT)

    def gap(self) -> None:
        """What came here was thrown away on the node: the next line may be the end of one."""
        self._is_behind_gap = True

    def finish(self) -> None:
        """The command has ended; what comes next is another's."""
        self._close_run()
        if self._end is not None:
            if self._end.lines_left_out and not self._is_cut:
                self._show(lines_left_out(self._end.lines_left_out))
            _mask_rest_of_key(self._end.runs)
            for run in self._end.runs:
                self._show_first_of(run)
                self._show_rest_of(run)
        self._begin()

    def _next_run(self, piece: Piece) -> _Run:
        self._close_run()
        if self._end is None and self._shown_lines >= START_LINES:
            self._end = _End()
        run = self._run = _Run(piece, self._text_if_needed(piece), self._is_behind_gap)
        if self._end is not None:
            self._end.add(run)
        return run

    def _text_if_needed(self, piece: Piece) -> str | None:
        """A private key is told by the lines before: where one may begin or go on, each line is looked at in its turn."""
        if self._end is not None and not self._may_be_key(piece.line):
            return None
        return self._scrubber.scrub(piece.text, cut_before=piece.is_cut_before, cut_after=piece.is_cut_after)

    def _may_be_key(self, printed: bytes) -> bool:
        return self._scrubber.is_within_key or b"BEGIN" in printed or b"\x1b" in printed

    def _close_run(self) -> None:
        if self._run is not None and self._end is None:
            self._show_rest_of(self._run)
        self._run = None

    def _show_first_of(self, run: _Run) -> None:
        while run.shown < min(run.count, SHOWN_OF_EQUAL):
            self._show_one(run)

    def _show_rest_of(self, run: _Run) -> None:
        rest = run.count - run.shown
        if rest == 1:
            self._show_one(run)
        elif rest:
            self._show_text(more_like_it(rest))
            run.shown = run.count

    def _show_one(self, run: _Run) -> None:
        run.shown += 1
        self._show_text(_text(run))

    def _show_text(self, text: str) -> None:
        for at in range(0, max(len(text), 1), LONGEST_LINE):
            self._show(text[at : at + LONGEST_LINE])
            self._shown_lines += 1


def _runs(lines: Iterable[bytes]) -> list[tuple[bytes, int]]:
    return [(line, len(list(equal))) for line, equal in groupby(lines)]


def _text(run: _Run) -> str:
    piece = run.piece
    if run.text is None:
        run.text = scrub(piece.text, cut_before=piece.is_cut_before, cut_after=piece.is_cut_after)
    return run.text


def _mask_rest_of_key(runs: deque[_Run]) -> None:
    """Behind a gap the output may go on in the middle of a private key, whose end alone is there to tell."""
    behind = [run for run in runs if run.is_behind_gap]
    last = next((at for at, run in enumerate(behind) if ends_key(run.piece.text)), -1)
    for run in behind[: last + 1]:
        run.text = MASK
