"""Takes apart what the node program prints: its frames, and the output of the commands that it runs.

A frame is `MARK WORD…` up to a newline, MARK being a control character and a nonce that the commands don't know. It may
stand anywhere in the stream, even inside another one that was written in two pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from deploys.node.excerpt import Excerpt, Piece
from inventory.nodes.program import FRAME_START
from inventory.nodes.transports.base import STDERR, STDOUT, NodeMisbehaved

CAP_BYTES = 1024 * 1024
# A line is looked through for secrets as a whole, before it is cut. One that is longer than this, in parts.
LONGEST_SCRUBBED_BYTES = 256 * 1024
LONGEST_FRAME_BYTES = 16 * 1024
START = FRAME_START.encode()
# EXIT LATE HUNDREDTHS: what a command's reader says behind its output, told by the program.
_END = re.compile(r"end ([0-9]{1,3}) ([01]) ([0-9]{1,9})")

OnFrame = Callable[[str, str], None]
OnLine = Callable[[str, str], None]
OnCut = Callable[[str], None]
# Of a command: its exit status, whether it was out of time, and its seconds.
CommandEnd = tuple[int, bool, float]
# None when nobody has told.
OnCommandOver = Callable[[CommandEnd | None], None]


class Stream:
    """One of the program's two streams.

    on_frame(stream, words) and on_line(stream, text) come in the order of the bytes, but what an excerpt holds back comes
    at the command's end; on_cut(stream) once for each command that prints more than CAP_BYTES: of its rest, only the last
    lines are wanted.
    """

    def __init__(self, name: str, *, mark: str, on_frame: OnFrame, on_line: OnLine, on_cut: OnCut) -> None:
        self.name = name
        self._mark = mark.encode()
        self._frame = re.compile(re.escape(self._mark) + rb" ([^\x1e\n]*)\n")
        self._on_frame = on_frame
        self._on_cut = on_cut
        self._excerpt = Excerpt(lambda text: on_line(name, text))
        self._pending = b""
        self._line = bytearray()
        self._is_continued = False
        self._taken_bytes = 0

    def feed(self, data: bytes) -> None:
        rest = self._pending + data
        while START in rest and (found := self._frame.search(rest)):
            before = rest[: found.start()]
            cut = self._partial_frame(before)
            self._output(before[:cut])
            rest = before[cut:] + rest[found.end() :]
            self._on_frame(self.name, found[1].decode(errors="replace"))
        cut = self._partial_frame(rest)
        self._pending = rest[cut:]
        self._output(rest[:cut])

    def command_ended(self) -> None:
        """What comes next is another command's: it has a line and a cap of its own."""
        self._end_line()
        self._excerpt.finish()
        self._is_continued = False
        self._taken_bytes = 0

    def gap(self) -> None:
        """The node has thrown output away here."""
        self._end_line()
        self._is_continued = True
        self._excerpt.gap()

    def _partial_frame(self, data: bytes) -> int:
        """Where in `data` a frame begins whose end is still to come; len(data) when there is none.

        It looks at each byte a few times at most, whatever a node sends: a nonce has no START, so that what may be
        the beginning of a mark can only stand at the last one.
        """
        least = max(data.rfind(b"\n") + 1, len(data) - LONGEST_FRAME_BYTES + 1, 0)
        whole = data.find(self._mark, least)
        if whole >= 0:
            return whole
        last = data.rfind(START, least)
        return last if last >= 0 and self._mark.startswith(data[last:]) else len(data)

    def _output(self, data: bytes) -> None:
        if not data:
            return
        room = max(CAP_BYTES - self._taken_bytes, 0)
        is_cut_here = self._taken_bytes <= CAP_BYTES < self._taken_bytes + len(data)
        self._taken_bytes += len(data)
        self._lines(data[:room])
        if is_cut_here:
            self._end_line()
            self._excerpt.cut()
            self._on_cut(self.name)
        self._lines(data[room:])

    def _lines(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._line += first
        if others:
            last = others.pop()
            self._end_line(is_complete=True)
            self._excerpt.take_whole(others)
            self._line += last
        while len(self._line) >= LONGEST_SCRUBBED_BYTES:
            self._say(bytes(self._line[:LONGEST_SCRUBBED_BYTES]), is_cut=True)
            del self._line[:LONGEST_SCRUBBED_BYTES]

    def _end_line(self, *, is_complete: bool = False) -> None:
        if self._line or is_complete:
            self._say(bytes(self._line), is_cut=not is_complete)
            self._line.clear()

    def _say(self, line: bytes, *, is_cut: bool) -> None:
        self._excerpt.take(Piece(line, self._is_continued, is_cut))
        self._is_continued = is_cut


class Streams:
    """Both streams of one call, and when all has come that will come.

    on_frame(words): each frame, but those of the commands' readers; it checks it, and raises NodeMisbehaved. Of the readers' the
    number is checked here: each of most_commands says two at most on each stream. on_command_over: once for each command, behind
    the last of its output on both; what comes after it may have come before, from the program or on the other stream.
    """

    def __init__(
        self,
        *,
        mark: str,
        most_commands: int,
        on_frame: Callable[[str], None],
        on_line: OnLine,
        on_cut: OnCut,
        on_command_over: OnCommandOver,
    ) -> None:
        self._on_frame = on_frame
        self._on_cut = on_cut
        self._on_command_over = on_command_over
        self._most_commands = most_commands
        self._gaps = {STDOUT: 0, STDERR: 0}
        self._commands = 0
        self._commands_over = 0
        self._told: dict[int, CommandEnd] = {}
        self._ended = {STDOUT: 0, STDERR: 0}
        self._given_up = {STDOUT: 0, STDERR: 0}
        self._is_muted = {STDOUT: False, STDERR: False}
        self._is_over = False
        self._is_ready = False
        self._streams = {
            name: Stream(name, mark=mark, on_frame=self._take, on_line=on_line, on_cut=self._cut)
            for name in (STDOUT, STDERR)
        }

    def feed(self, stream: str, data: bytes) -> None:
        self._streams[stream].feed(data)

    def finish(self) -> None:
        for stream in self._streams.values():
            stream.command_ended()
        while self._commands_over < self._commands:
            self._command_over()

    def is_over(self) -> bool:
        """The program has said its last word."""
        return self._is_over

    def is_ready(self) -> bool:
        """It has said, behind that, that it waits for another call."""
        return self._is_ready

    def is_done(self) -> bool:
        """It has, and all output of its commands is here."""
        return self._is_over and all(count >= self._commands for count in self._ended.values())

    def is_ahead(self, stream: str) -> bool:
        """What comes on it now is behind a command's end, and some of that command's output on the other one is to come."""
        return self.is_command_open and self._ends(stream) > self._commands_over

    @property
    def is_command_open(self) -> bool:
        """A command has begun, and more of its output may come."""
        return self._commands_over < self._commands

    def _ends(self, stream: str) -> int:
        return self._ended[stream] + self._given_up[stream]

    def _take(self, stream: str, words: str) -> None:
        if words == "ready" and self._is_over:
            self._is_ready = True
        elif words == "gap":
            self._count(self._gaps, stream, words)
            self._is_muted[stream] = True
            self._streams[stream].gap()
        elif end := _END.fullmatch(words):
            self._count(self._ended, stream, "end")
            self._streams[stream].command_ended()
            self._is_muted[stream] = False
            self._told.setdefault(self._ends(stream), (int(end[1]), end[2] == "1", int(end[3]) / 100))
            self._look()
        else:
            self._take_programs(words)

    def _take_programs(self, words: str) -> None:
        self._on_frame(words)
        if words == "over":
            self._is_over = True
        if words.startswith("command "):
            self._give_up_muted()
            self._commands += 1

    def _count(self, counts: dict[str, int], stream: str, words: str) -> None:
        counts[stream] += 1
        if counts[stream] > self._most_commands:
            raise NodeMisbehaved(f"`{words}` more often than {self._most_commands} times")

    def _cut(self, stream: str) -> None:
        self._is_muted[stream] = True
        self._on_cut(stream)

    def _give_up_muted(self) -> None:
        """The last command's daemons may hold a stream of its open for ever: once it is muted, its `end` need not come."""
        for name, stream in self._streams.items():
            if self._is_muted[name] and self._ends(name) < self._commands:
                stream.command_ended()
                self._is_muted[name] = False
                self._given_up[name] = self._commands - self._ended[name]
        self._look()

    def _look(self) -> None:
        while self.is_command_open and all(self._ends(name) > self._commands_over for name in self._streams):
            self._command_over()

    def _command_over(self) -> None:
        self._commands_over += 1
        self._on_command_over(self._told.pop(self._commands_over, None))
