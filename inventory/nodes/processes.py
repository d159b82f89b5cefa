"""What runs on a node says of itself: the version commands of its instances, run once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inventory.nodes.grammar import processes_table
from inventory.nodes.program import ROOTS_AT_ONCE, ask
from inventory.nodes.transports.base import NodeMisbehaved, Transport, shown

# Of each command; the node runs a bounded number at the same time.
COMMAND_SECONDS = 10
LONGEST_VERSION = 100


@dataclass(frozen=True, kw_only=True)
class Process:
    """An instance's, with the version command of its service."""

    root: str
    instance_id: str
    port: int
    service: str
    command: str


async def ask_processes(transport: Transport, processes: Sequence[Process], *, timeout_seconds: float) -> list[str]:
    """Which version each says that it is, in order; '' for one that says nothing. All are of one service.

    Raises TransportError, NodeMisbehaved.
    """
    said: list[str] = []
    for start in range(0, len(processes), ROOTS_AT_ONCE):
        said += await _ask(transport, processes[start : start + ROOTS_AT_ONCE], timeout_seconds=timeout_seconds)
    return said


async def _ask(transport: Transport, processes: Sequence[Process], *, timeout_seconds: float) -> list[str]:
    first = processes[0]
    places = [word for each in processes for word in (each.root, each.instance_id, str(each.port))]
    arguments = [str(COMMAND_SECONDS), first.command, first.service, *places[1:]]
    table = processes_table(len(processes))
    frames = await ask(transport, "processes", [first.root, *arguments], table, timeout_seconds=timeout_seconds)
    said = dict.fromkeys(range(len(processes)), "")
    for number, text in (rest.split(" ", 1) for word, rest in frames if word == "process"):
        if int(number) not in said:
            raise NodeMisbehaved(f"process {number} of {len(processes)}")
        said[int(number)] = shown(text, LONGEST_VERSION)
    return list(said.values())
