"""The log lines that wait to be written: whose are next, and whose program has to wait until there are fewer.

The lines of one owner (a target, or an operation itself) stay in their order. Operations take turns, and within one its
targets, so that nobody waits behind another's flood.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deploys.worker.batch import Line
from inventory.nodes.transports.flow import Flow

MOST_BYTES = 32 * 1024 * 1024
# What a line takes in memory besides its text.
LINE_BYTES = 400
TURN_LINES = 50


@dataclass
class _Queue:
    """bytes: of the lines here, and of those that are being written."""

    lines: deque[Line] = field(default_factory=deque)
    bytes: int = 0


@dataclass
class _Room:
    """What is left of a batch."""

    lines: int
    bytes: int
    taken: list[Line] = field(default_factory=list)

    def take(self, queue: _Queue, most: int) -> None:
        while queue.lines and most > 0 and self.lines > 0 and self.bytes > 0:
            line = queue.lines.popleft()
            self.taken.append(line)
            self.lines -= 1
            self.bytes -= size(line)
            most -= 1


def size(line: Line) -> int:
    return len(line.text) + LINE_BYTES


class Backlog:
    def __init__(self) -> None:
        self._operations: dict[int, dict[int, _Queue]] = {}
        self._bytes = 0
        self._held: dict[int, tuple[int, Flow]] = {}

    def __bool__(self) -> bool:
        return any(queue.lines for queues in self._operations.values() for queue in queues.values())

    def add(self, line: Line, flow: Flow | None) -> None:
        """flow: of the program that the line came from. It is held while this process's room is used up by it."""
        queue = self._operations.setdefault(line.operation_id, {}).setdefault(line.owner, _Queue())
        queue.lines.append(line)
        queue.bytes += size(line)
        self._bytes += size(line)
        if flow is not None and self._bytes > MOST_BYTES and queue.bytes > self._share():
            self._held[line.owner] = (line.operation_id, flow)
            flow.hold(self)

    def has_lines_of(self, operation_id: int, owner: int) -> bool:
        queue = self._operations.get(operation_id, {}).get(owner)
        return queue is not None and bool(queue.lines)

    def take(self, *, lines: int, bytes: int, ending: Iterable[tuple[int, int]]) -> Sequence[Line]:
        """The next ones to be written. ending: whose end waits for its lines, as (operation, owner); the shortest first."""
        room = _Room(lines, bytes)
        for operation_id, queues in self._operations.items():
            if -operation_id in queues:
                room.take(queues[-operation_id], lines)
        for queue in sorted(self._queues(ending), key=lambda queue: len(queue.lines)):
            if len(queue.lines) <= room.lines:
                room.take(queue, len(queue.lines))
        self._take_turns(room)
        return room.taken

    def written(self, lines: Iterable[Line]) -> None:
        """They need no memory any more."""
        for line in lines:
            queues = self._operations[line.operation_id]
            queue = queues[line.owner]
            queue.bytes -= size(line)
            self._bytes -= size(line)
            if not queue.lines and not queue.bytes:
                del queues[line.owner]
                if not queues:
                    del self._operations[line.operation_id]
        self._release()

    def _queues(self, keys: Iterable[tuple[int, int]]) -> list[_Queue]:
        found = (self._operations.get(operation_id, {}).get(owner) for operation_id, owner in keys)
        return [queue for queue in found if queue is not None]

    def _take_turns(self, room: _Room) -> None:
        taken = -1
        while taken < len(room.taken):
            taken = len(room.taken)
            for operation_id in list(self._operations):
                queues = self._operations[operation_id]
                owner = next((owner for owner, queue in queues.items() if queue.lines), None)
                if owner is not None:
                    queues[owner] = queues.pop(owner)
                    room.take(queues[owner], TURN_LINES)
                self._operations[operation_id] = self._operations.pop(operation_id)

    def _share(self) -> float:
        return MOST_BYTES / max(1, sum(len(queues) for queues in self._operations.values()))

    def _release(self) -> None:
        share = self._share()
        for owner, (operation_id, flow) in list(self._held.items()):
            queue = self._operations.get(operation_id, {}).get(owner)
            if queue is None or queue.bytes <= share / 2 or self._bytes <= MOST_BYTES / 2:
                del self._held[owner]
                flow.release(self)
