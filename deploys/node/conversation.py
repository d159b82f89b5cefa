"""One call to the node program: what it says, turned into events and an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from deploys.node import calls
from deploys.node.answers import (
    Answer,
    CommandEnded,
    Event,
    Linked,
    OutputLine,
    Removed,
    StepStarted,
    Verified,
    Waiting,
    value_of,
)
from deploys.node.frames import CommandEnd, Streams
from deploys.node.grammar import most_commands
from inventory.nodes.grammar import BEGUN, FrameCheck, Table
from inventory.nodes.program import NodeCall
from inventory.nodes.transports.base import STDERR, STDOUT, NodeMisbehaved, Transport, TransportError
from inventory.nodes.transports.flow import Flow
from inventory.security.redaction import scrub

SHOWN_CHARACTERS = 300
# The command waits meanwhile.
MUTE_SECONDS = 5.0
# Of a command that can't be muted so much is read at once, and then nothing for so long: 10 MiB a second at the most.
PACED_BYTES = 1024 * 1024
PACE_SECONDS = 0.1
# Of a command that is over by the node's own clock: what is on its way still comes.
LATE_SECONDS = 30.0


class Conversation:
    """One call's frames turned into events and an answer."""

    def __init__(
        self,
        transport: Transport,
        call: NodeCall,
        table: Table,
        on_event: Callable[[Event], None],
        flow: Flow,
        *,
        command_seconds: float,
    ) -> None:
        """flow: held while a command is muted. command_seconds: of a command that the call runs."""
        self.answer = Answer()
        self._last_lines: dict[str, str] = {}
        self._check = FrameCheck(table)
        self.streams = Streams(
            mark=call.mark,
            most_commands=most_commands(table),
            on_frame=self._frame,
            on_line=self._line,
            on_cut=self._cut,
            on_command_over=self._command_over,
        )
        self._held: list[Event] = []
        self._transport = transport
        self._call = call
        self._on_event = on_event
        self._flow = flow
        self._flow.is_counted = True
        self._command_seconds = command_seconds
        # What is sent along is about to be read.
        self.wants_stdin = asyncio.Event()
        self._command_ends_at = 0.0
        self._unpaced_bytes = 0
        self._muting: set[asyncio.Task[None]] = set()

    def hear(self, stream: str, data: bytes) -> None:
        """Raises NodeMisbehaved."""
        self.streams.feed(stream, data)
        if self._flow.is_counted:
            return
        if time.monotonic() > self._command_ends_at:
            raise NodeMisbehaved("a command prints on behind its time limit", said=data)
        self._pace(len(data))

    def _pace(self, count: int) -> None:
        self._unpaced_bytes += count
        if self._unpaced_bytes >= PACED_BYTES:
            self._unpaced_bytes = 0
            self._flow.hold(self)
            asyncio.get_running_loop().call_later(PACE_SECONDS, self._flow.release, self)

    @property
    def has_begun(self) -> bool:
        """Our program runs, and not something else in its place."""
        return BEGUN in self.answer.words

    @property
    def last_words(self) -> str:
        """What tells most of an early end."""
        return self._last_lines.get(STDERR, "") or ("" if self.has_begun else self._last_lines.get(STDOUT, ""))

    def _frame(self, words: str) -> None:
        word, rest = self._check.take(words)
        self.answer.take(word, rest)
        if (word, rest) == ("step", "stage"):
            self.wants_stdin.set()
        if word == "command":
            self._command_ends_at = time.monotonic() + self._command_seconds + LATE_SECONDS
            self._flow.is_counted = True
        elif event := _event(word, rest):
            self._tell(event)

    def _tell(self, event: Event) -> None:
        """Not before the output of the command that ran before: bounded, for only so much of it and of frames is taken."""
        if self.streams.is_command_open:
            self._held.append(event)
        else:
            self._on_event(event)

    def _command_over(self, end: CommandEnd | None) -> None:
        if end is not None:
            exit_status, timed_out, seconds = end
            self._on_event(CommandEnded(exit_status=exit_status, timed_out=timed_out, seconds=seconds))
        held, self._held = self._held, []
        for event in held:
            self._on_event(event)

    def _line(self, stream: str, text: str) -> None:
        if text.strip():
            self._last_lines[stream] = scrub(text)[:SHOWN_CHARACTERS]
        line = OutputLine(stream=stream, text=text)
        if self.streams.is_ahead(stream):
            self._held.append(line)
        else:
            self._on_event(line)

    def _cut(self, stream: str) -> None:
        """Spare the wire: what nobody will read shall end on the node. Until it does, nothing is read here.

        A node that grants no session for that is read on to the command's own end, slowly.
        """
        processes = self.answer.words.get("command", "").split()
        if len(processes) != 3:
            return
        program, out_reader, err_reader = processes
        task = asyncio.create_task(self._mute(out_reader if stream == STDOUT else err_reader, program))
        self._muting.add(task)
        self._flow.hold(task)
        task.add_done_callback(self._muting.discard)
        task.add_done_callback(self._flow.release)

    async def _mute(self, reader: str, program: str) -> None:
        arguments = calls.mute(self._call, reader=reader, program=program)
        try:
            await self._transport.run(
                calls.node_program(),
                arguments,
                on_output=lambda *_: None,
                timeout_seconds=MUTE_SECONDS,
                is_urgent=True,
            )
        except (TransportError, NodeMisbehaved):
            self._flow.is_counted = False


def _event(word: str, rest: str) -> Event | None:
    """None for a frame that only the answer is made of."""
    match word, rest.split():
        case "step", [step]:
            return StepStarted(step=step)
        case "waiting", [fence, pid, seconds]:
            return Waiting(fence=int(fence), pid=int(pid), seconds=int(seconds))
        case "waited", [fence, ending]:
            return Waiting(fence=int(fence), ending=ending)
        case "linked", [before, now]:
            return Linked(before=value_of(before), now=value_of(now))
        case "verified", []:
            return Verified()
        case "removed", [count, *releases]:
            return Removed(count=int(count), releases=" ".join(releases))
    return None
