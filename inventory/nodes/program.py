"""Asks a node through our own program (inventory/nodes/base.sh): how a call is marked, sent and heard to its end."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from inventory.nodes.grammar import BEGUN, OVER, FrameCheck, Table
from inventory.nodes.transports.base import CommandResult, ConnectionLost, NodeUnsuitable, Transport
from inventory.security.redaction import clean_output, scrub
from inventory.told import Told
from inventory.told import marked as _

# What a frame starts with: a control character, then a nonce that nothing else on the node knows.
FRAME_START = "\x1e"
# Of one call: its arguments are one line that the node reads byte by byte.
ROOTS_AT_ONCE = 200
_SHOWN_CHARACTERS = 300
# The end of every program of ours.
RUN = 'main "$@"'


@dataclass(frozen=True, kw_only=True)
class NodeCall:
    """What every call begins with. root: an absolute path on the node. mark: what its frames start with."""

    mark: str
    root: str
    fence: int = 0

    def arguments(self, task: str, *others: str) -> list[str]:
        return [self.mark, task, self.root, str(self.fence), *others]


def new_mark() -> str:
    return f"{FRAME_START}{secrets.token_hex(8)}"


@cache
def base_program() -> str:
    """All that inventory itself asks of a node."""
    return f"{base_text()}\n{RUN}"


def base_text() -> str:
    """The beginning of every program of ours: functions alone."""
    return program_text(Path(__file__).parent / "base.sh")


def program_text(path: Path) -> str:
    """Without comments and indentation: it travels with every call."""
    stripped = (line.lstrip("\t") for line in path.read_text().splitlines())
    return "\n".join(line for line in stripped if line and not line.startswith("#"))


async def ask(
    transport: Transport, task: str, roots: Sequence[str], table: Table, *, timeout_seconds: float
) -> list[tuple[str, str]]:
    """The frames of a task of base.sh, each as (word, rest), checked by its table. Raises TransportError, NodeMisbehaved.

    roots: no more than ROOTS_AT_ONCE.
    """
    call = NodeCall(mark=new_mark(), root=roots[0])
    result = await transport.run(base_program(), call.arguments(task, *roots[1:]), timeout_seconds=timeout_seconds)
    frames = FrameCheck(table).take_all(frames_in(result.stdout, call.mark))
    words = {word for word, _rest in frames}
    if OVER not in words:
        raise ended_early(result, has_begun=BEGUN in words)
    return frames


def frames_in(output: bytes, mark: str) -> list[str]:
    pattern = re.compile(re.escape(mark.encode()) + rb" ([^\x1e\n]*)\n")
    return [frame.decode(errors="replace") for frame in pattern.findall(output)]


def ended_early(result: CommandResult, *, has_begun: bool, last_words: str = "") -> ConnectionLost | NodeUnsuitable:
    """Why a program did not say all: it was ended; or it never began, and the login did something else instead."""
    said = last_words or _last_words(result)
    facts = {"said": said, "status": str(result.exit_status)}
    if has_begun or result.exit_status is None:
        text = _("the program on the node ended early: exit status %(status)s")
        if said:
            text = _("the program on the node ended early: %(said)s")
        return ConnectionLost(Told(text, facts))
    text = _(
        "the login did not run our program, but ended with status %(status)s (no word); it has to run a command line with a "
        "POSIX sh, and none of its profiles may read stdin"
    )
    if said:
        text = _(
            "the login did not run our program, but ended with status %(status)s (%(said)s); it has to run a command line "
            "with a POSIX sh, and none of its profiles may read stdin"
        )
    return NodeUnsuitable(Told(text, facts))


def _last_words(result: CommandResult) -> str:
    """Of a login that says no more than that it is closed: what it printed last."""
    lines = [clean_output(line) for line in (result.stderr or result.stdout).splitlines()]
    return scrub(next((line for line in reversed(lines) if line.strip()), ""))[:_SHOWN_CHARACTERS]
