"""One way to lie: at which tasks, and what is said then. Or a server that is no node at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.lying_node import Call, Err, Said, honest


@dataclass(frozen=True)
class Act:
    """Something else than saying a word, done with asyncssh's server process."""

    do: Callable[[Any], None]


Saying = Iterable[Said | Act]
Lie = Callable[[Call], Saying]
Serve = Callable[[Any, Any], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """kind: a row of the table. tasks: where it lies, beside `survey` and `check`, where all do. instances: on this node.

    settings: attributes of its `LyingNode`. serve: what answers instead of one, given asyncio's reader and writer.
    breaks_key: it shows another host key than the inventory has.
    """

    kind: str
    name: str
    tasks: tuple[str, ...] = ()
    lie: Lie | None = None
    instances: int = 1
    settings: dict[str, object] = field(default_factory=dict)
    serve: Serve | None = None
    breaks_key: bool = False


def words_of(call: Call) -> list[str]:
    """What an honest node says on stdout, frame by frame."""
    mark = f"{call.mark} "
    data = b"".join(said for said in honest(call) if isinstance(said, bytes))
    return [line.removeprefix(mark) for line in data.decode().split("\n")[:-1]]


def spoken(call: Call, words: Sequence[str]) -> list[Said | Act]:
    """Frames on stdout, and on stderr an end for each command."""
    commands = sum(word.startswith("command ") for word in words)
    ends: list[Said | Act] = [Err(call.frames("end 0 0 5"))] if 0 < commands < 50 else []
    return [call.frames(*words), *ends]


def swapped(call: Call, word: str, *others: str) -> list[Said | Act]:
    """An honest answer with other frames in the place of the one that begins like this; else before its last."""
    words = words_of(call)
    at = next((at for at, each in enumerate(words) if each.split(" ")[0] == word), len(words) - 1)
    behind = words[at + 1 :] if words[at].split(" ")[0] == word else words[at:]
    return spoken(call, [*words[:at], *others, *behind])


def added(call: Call, *others: str) -> list[Said | Act]:
    """An honest answer with these frames before its last."""
    words = words_of(call)
    return spoken(call, [*words[:-1], *others, words[-1]])


def lying(kind: str, name: str, task: str, say: Callable[..., Saying], *values: object) -> Case:
    """One that says say(call, *values) at this task."""
    return Case(kind=kind, name=name, tasks=(task,), lie=lambda call: say(call, *values))
