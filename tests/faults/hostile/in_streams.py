"""Lies that are told by how much is said, how fast, and how it ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import repeat

from tests.faults.hostile.case import Act, Case, Saying, lying, words_of
from tests.support.lying_node import Call, Disconnect, Err, Exit, Killed, Pause, Said

MIB = 1024 * 1024
# What one liar sends at most: an end for whoever reads on and on.
FLOOD_BYTES = 48 * MIB
CHUNK_BYTES = 64 * 1024
LONG_SECONDS = 3600.0


def stream_cases(chance: random.Random) -> Iterator[Case]:
    yield from _floods(chance)
    yield from _long_words()
    yield from _repeats()
    yield from _silences()
    yield from _drips()
    yield from _ends(chance)
    yield from _standing_by()


def _flood(data: bytes, *, is_err: bool = False) -> Iterator[Said | Act]:
    chunk = data * max(1, CHUNK_BYTES // len(data))
    yield from repeat(Err(chunk) if is_err else chunk, FLOOD_BYTES // len(chunk))


def _floods(chance: random.Random) -> Iterator[Case]:
    floods = {
        "blank lines": b"\n", "one endless line": b"x", "binary": chance.randbytes(CHUNK_BYTES), "NUL": b"\0",
        "lines": b"a line of output\n", "frame starts": b"\x1e", "CR": b"\r", "escapes": b"\x1b[31m\x1b]0;t\x07\n",
        "half marks": b"\x1e0123\n",
    }  # fmt: skip
    for name, data in floods.items():
        for task in ("before_switch", "stage"):
            yield lying("floods", f"{name}, {task}", task, _flooded, data)
    for name in ("blank lines", "binary", "one endless line"):
        yield lying("floods", f"{name}, stderr", "switch", _flooded, floods[name], True)
    yield lying("floods", "its mark, no end", "before_switch", lambda call: _flooded(call, call.mark.encode()))
    yield lying("floods", "its mark, blanks", "before_switch", lambda call: _flooded(call, f"{call.mark} ".encode()))
    yield lying("floods", "its mark, an endless word", "before_switch", _endless_word)
    yield lying("floods", "made-up frames", "before_switch", lambda call: _flooded(call, call.frames("no such word")))


def _flooded(call: Call, data: bytes, is_err: bool = False) -> Saying:
    words = words_of(call)
    first = next((at for at, word in enumerate(words) if word.startswith("command ")), 0) + 1
    yield call.frames(*words[:first])
    yield from _flood(data, is_err=is_err)
    yield call.frames(*words[first:])
    yield Err(call.frames("end 0 0 5"))


def _endless_word(call: Call) -> Saying:
    """Of which a pattern may try every part."""
    return [call.frames("begun"), f"{call.mark} ".encode(), *_flood(b"y")]


def _standing_by() -> Iterator[Case]:
    """What a program says that was started ahead of its call: it is heard while nobody waits for anything."""
    floods: dict[str, Callable[[], Saying]] = {
        "flood": lambda: _flood(b"x"),
        "answers at once": lambda: [b"\006\n", Pause(LONG_SECONDS)],
        "answers without end": lambda: _flood(b"\006\n"),
        "stderr": lambda: _flood(b"\n", is_err=True),
        "ends": lambda: [Exit(1)],
        "disconnects": lambda: [Disconnect("\0")],
        "drips": lambda: _dripped(b"." * 600),
    }  # fmt: skip
    for name, standby in floods.items():
        yield Case(kind="standing by", name=name, settings={"standby": standby})


def _long_words() -> Iterator[Case]:
    for size in (300, 16_383, 16_385, 300_000, 3 * MIB):
        for word in ("outcome", "warning", "error internal_error"):
            task = "stage" if word == "outcome" else "switch"
            yield lying("long words", f"{word} of {size}", task, _with_long, word, size)
    yield lying("long words", "a frame without end", "stage", _without_end)


def _without_end(call: Call) -> Saying:
    return [call.frames("begun"), f"{call.mark} outcome ".encode(), *_flood(b"y")]


def _with_long(call: Call, word: str, size: int) -> Saying:
    words = words_of(call)
    return [call.frames(*words[:-1], f"{word} {'x' * size}", words[-1])]


def _repeats() -> Iterator[Case]:
    for name, words, task in (
        ("short", "warning w", "switch"),
        ("long", f"warning {'w' * 10_000}", "switch"),
        ("empty", "warning ", "stage"),
        ("in before_switch", "warning w", "before_switch"),
    ):
        yield lying("endless warnings", f"warnings, {name}", task, _around, words)
    for name, size in (("no output", 0), ("lines", 1_000), ("a cap's worth", MIB - 1)):
        for task in ("before_switch", "switch"):
            yield lying("command/end repeated", f"{name}, {task}", task, _commands, size)


def _around(call: Call, repeated: str) -> Saying:
    words = words_of(call)
    yield call.frames(*words[:-1])
    yield from _flood(call.frames(repeated))
    yield call.frames(words[-1])


def _commands(call: Call, size: int) -> Saying:
    """As one command after the other, each with a cap of its own if it were believed."""
    yield call.frames(*words_of(call)[:2])
    one = call.frames("command 11 12 13") + b"a line\n" * (size // 7) + call.frames("end 0 0 5")
    for data in repeat(one, min(FLOOD_BYTES // len(one), 20_000)):
        yield data
        yield Err(call.frames("end 0 0 5"))


def _silences() -> Iterator[Case]:
    for task in ("stage", "before_switch", "switch", "state", "abort"):
        for spoken in range(4 if task != "abort" else 1):
            yield lying("silence", f"silent after {spoken}, {task}", task, _silent, spoken)


def _silent(call: Call, spoken: int) -> Saying:
    return [call.frames(*words_of(call)[:spoken]), Pause(LONG_SECONDS)]


def _drips() -> Iterator[Case]:
    for task in ("stage", "before_switch", "switch", "state"):
        yield lying("drip", f"frames, {task}", task, lambda call: _dripped(call.frames(*words_of(call))))
    yield lying("drip", "output", "before_switch", _dripping_output, b".")
    yield lying("drip", "lines", "before_switch", _dripping_output, b"\n")
    yield lying("drip", "restart's output", "switch", _dripping_output, b"z")


def _dripped(data: bytes) -> Saying:
    for at in range(len(data)):
        yield data[at : at + 1]
        yield Pause(1.0)


def _dripping_output(call: Call, byte: bytes) -> Saying:
    words = words_of(call)
    first = next((at for at, word in enumerate(words) if word.startswith("command ")), 0) + 1
    yield call.frames(*words[:first])
    for data in repeat(byte, 3600):
        yield data
        yield Pause(1.0)


def _ends(chance: random.Random) -> Iterator[Case]:
    endings: dict[str, Said] = {
        "exit 0": Exit(0), "exit 1": Exit(1), "exit 65": Exit(65), "exit 126": Exit(126), "exit 127": Exit(127),
        "exit 255": Exit(255), "exit 4294967295": Exit(2**32 - 1), "SIGKILL": Killed("KILL"),
        "a signal with a nasty message": Killed("SEGV", "\x00\x1b[2J\u202e" + "m" * 20_000),
        "a signal that is none": Killed("NOSUCH", "x"), "disconnect": Disconnect("bye"),
        "disconnect with NUL": Disconnect("\x00by\x1be\u202e"), "disconnect, long": Disconnect("d" * 30_000),
    }  # fmt: skip
    for name, ending in endings.items():
        for task in (("stage", "switch"), ("before_switch",), ("switch", "state"))[chance.randrange(3)]:
            yield lying("ends early", f"{name}, {task}", task, _cut, chance.random(), ending)
        yield lying("ends early", f"{name} at once", "stage", lambda call, ending: [ending], ending)
    for task in ("stage", "before_switch", "switch", "state", "abort"):
        yield lying("ends early", f"cut in a frame, {task}", task, _cut_in_frame)


def _cut_in_frame(call: Call) -> Saying:
    return [call.frames(*words_of(call))[:-7], Disconnect("")]


def _cut(call: Call, part: float, ending: Said) -> Saying:
    data = call.frames(*words_of(call)[:-1])
    return [data[: int(part * len(data))], ending]
