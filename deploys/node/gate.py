"""The forced command for a node's authorized_keys (deploys/node/gate.sh), made from the inventory. Pure but for loading."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploys.node.calls import NO_SOURCE, STDIN, URL, node_program
from inventory.nodes.program import base_program
from inventory.nodes.transports.bootstrap import COMMAND_LINE, framed

# A pattern that matches nothing we ask for: a node may have no instances yet.
NOTHING = "''"


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """One instance: where it lives, and the commands of its service."""

    root: str
    commands: Sequence[str]


def gate(allowed: Iterable[Allowed], *, pulls: bool = False, also_programs: Sequence[str] = ()) -> str:
    """A POSIX sh script.

    pulls: the node fetches its releases itself. also_programs: SHA-256 of node programs of other versions, for the
    time of an upgrade.
    """
    instances = list(allowed)
    roots = [each.root for each in instances]
    commands = [f"{each.root}\n{command}" for each in instances for command in each.commands if command]
    patterns = {
        "@COMMAND_LINE@": shlex.quote(COMMAND_LINE),
        "@PROGRAMS@": _pattern([*program_digests(), *also_programs]),
        "@SOURCES@": _pattern([NO_SOURCE, STDIN, *([URL] if pulls else [])]),
        "@ROOTS@": _pattern(roots),
        "@COMMANDS@": _pattern(commands),
    }
    text = (Path(__file__).parent / "gate.sh").read_text()
    return re.sub("|".join(patterns), lambda mark: patterns[mark[0]], text)


def program_digests() -> list[str]:
    """Of the programs that this version sends, as they are sent: to deploy, and to read and check."""
    return [digest(program) for program in (node_program(), base_program())]


def digest(program: str) -> str:
    return hashlib.sha256(framed(program).encode()).hexdigest()


def _pattern(values: Iterable[str]) -> str:
    """Quoted, so that a `case` takes them literally."""
    return " | ".join(sorted({shlex.quote(value) for value in values})) or NOTHING
