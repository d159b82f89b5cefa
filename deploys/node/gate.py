"""The forced command for a node's authorized_keys (deploys/node/gate.sh), made from the inventory. Pure but for loading."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploys.node.calls import NO_SOURCE, STDIN, URL, program_text
from inventory.nodes.state import READ_PROGRAM

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
        "@PROGRAMS@": _pattern([program_digest(), *also_programs]),
        "@READERS@": _pattern([_digest(READ_PROGRAM)]),
        "@SOURCES@": _pattern([NO_SOURCE, STDIN, *([URL] if pulls else [])]),
        "@ROOTS@": _pattern(roots),
        "@COMMANDS@": _pattern(commands),
    }
    text = (Path(__file__).parent / "gate.sh").read_text()
    return re.sub("|".join(patterns), lambda mark: patterns[mark[0]], text)


def program_digest() -> str:
    return _digest(program_text())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pattern(values: Iterable[str]) -> str:
    """Quoted, so that a `case` takes them literally."""
    return " | ".join(sorted({shlex.quote(value) for value in values})) or NOTHING
