"""Lies that are told in frames: their form, their number, their order, their words."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from tests.faults.hostile.case import Case, Saying, added, lying, spoken, swapped, words_of
from tests.support.lying_node import Call, Err, Exit

ALL_TASKS = ("stage", "before_switch", "switch", "state", "abort")
NASTY = "\x00one\x1b[31mtwo\x1b]0;title\x07\rthree\u202efour\x9b1mfive\u2028six\ufeff\udcff"
ODD = (
    "", " ", "-", "--", "0", "-1", "9" * 400, "1e9", "0x10", "\uff11\uff12", "\u0663", "\x00", "a\x00b", "\x1b[2J",
    "\u202egnp.exe", "\udcff\udcfe", "x" * 300, "x" * 20_000, "- - - - - - - - - - - -", "../../etc/passwd", "none", "None",
    "release ../x - -", "release v1 v1 " + "f" * 65, "\r", "a\rb", "%s%n%x", "{0.__class__}", "'; DROP TABLE x; --", "$(id)",
    "\u2028", "\ufeff", "\u00e9" * 100, "true", "\t", "1 1", "1 1 1", "-0", "+1", "1_000", NASTY,
)  # fmt: skip
CODES = (
    "", "no_such_code", "OK", "package_unsafe some\x00text", "c" * 300, "command_failed", "command_timeout", "worker_lost",
    "package_host_not_allowed", "node_host_key_mismatch", "node_unreachable", "internal_error " + NASTY, "superseded",
    "NODE_DISK_FULL x", "node_disk_full " + "y" * 15_000, "node_unsuitable \x1b]8;;http://evil\x07click", "\u202eliaf",
    "package_unreachable https://user:SECRET-pw@host/x " + "z" * 9_000, "node_not_writable " + "\u0301" * 5_000, "stale",
    "damaged", "damaged " + NASTY, "\x00", "error error error", "package_checksum_mismatch \r\x1b[1A",
)  # fmt: skip
NUMBERS = (
    ("error", "error stale 1"), ("error", "error stale 999999999999999"), ("error", "error stale 1000000000000000"),
    ("error", "error stale " + "9" * 300), ("error", "error stale -5"), ("error", "error stale \uff11"),
    ("error", "error stale 9223372036854775807"), ("error", "error stale 0"), ("error", "error stale 1.5"),
    ("ended", "ended 99999999999999999999 0"), ("ended", "ended -1 0"), ("ended", "ended 0 7"), ("ended", "ended 256 1"),
    ("switched", "switched - 99999999999999999999 0 0"), ("switched", "switched - -3 0 0"), ("switched", "switched - 0 9 9"),
    ("switched", "switched " + "v" * 300 + " 1 0 1"), ("switched", "switched ../../etc 1 0 1"),
    ("current", "current release v1 v1 -"), ("last", "last 999999999999999999999 v1 - done 0 0 0 0"),
    ("last", "last 1 v1 - switched 0 0 0 1"), ("command", "command 1 1 1"), ("command", "command -1 -1 -1"),
    ("command", "command 99999999999999999999 0 0"),
)  # fmt: skip


def frame_cases(chance: random.Random) -> Iterator[Case]:
    yield from _malformed(chance)
    yield from _too_many()
    yield from _out_of_order(chance)
    yield from _of_other_tasks()
    yield from _codes()
    yield from _characters()
    yield from _numbers()
    yield from _kept()


def _malformed(chance: random.Random) -> Iterator[Case]:
    for number in range(45):
        odd = ODD[number % len(ODD)]
        yield lying(
            "frames malformed",
            f"malformed-{number}",
            ALL_TASKS[number % len(ALL_TASKS)],
            _with_odd,
            odd,
            chance.random(),
            chance.random() < 0.7,
        )


def _with_odd(call: Call, odd: str, at: float, keeps_word: bool) -> Saying:
    words = words_of(call)
    place = int(at * len(words))
    words[place] = f"{words[place].split(' ')[0]} {odd}" if keeps_word else odd
    return spoken(call, words)


def _too_many() -> Iterator[Case]:
    repeated = (
        ("step stage", 20_000), ("outcome installed", 5_000), ("current none - - -", 5_000), ("begun", 100_000),
        ("waiting 5", 50_000), ("gap", 50_000), ("ended 0 0", 1_000), ("switched - 0 0 0", 1_000), ("over", 50_000),
    )  # fmt: skip
    for words, count in repeated:
        for task in ("stage", "switch"):
            name = f"{count} times {words}, {task}"
            yield lying(
                "frames too many", name, task, lambda call, words, count: added(call, *[words] * count), words, count
            )


def _out_of_order(chance: random.Random) -> Iterator[Case]:
    for number in range(12):
        yield lying("frames out of order", f"shuffled-{number}", ALL_TASKS[number % 4], _shuffled, chance.random())
    for task in ALL_TASKS[:4]:
        kind = "frames out of order"
        yield lying(kind, f"over first, {task}", task, lambda call: spoken(call, ["over", *words_of(call)]))
        yield lying(kind, f"no begun, {task}", task, lambda call: spoken(call, words_of(call)[1:]))
        yield lying(kind, f"begun and over alone, {task}", task, lambda call: spoken(call, ["begun", "over"]))


def _shuffled(call: Call, seed: float) -> Saying:
    words = words_of(call)
    random.Random(seed).shuffle(words)
    return spoken(call, words)


def _of_other_tasks() -> Iterator[Case]:
    for task, other in itertools.permutations(ALL_TASKS[:4], 2):
        yield lying("frames of other tasks", f"{task} as {other}", task, _as_other, other)


def _as_other(call: Call, other: str) -> Saying:
    return spoken(call, words_of(replace(call, task=other)))


def _codes() -> Iterator[Case]:
    for number, code in enumerate(CODES):
        name = f"code-{number}: {code[:20]!r}"
        yield lying("error codes", name, ALL_TASKS[number % 4], _failed, code)


def _failed(call: Call, error: str) -> Saying:
    return spoken(call, ["begun", f"error {error}", "over"])


def _characters() -> Iterator[Case]:
    texts = (NASTY, "\x1b[31mred" * 200, "\u202e" * 1_000, "\x00" * 1_000, "\r\r\rhidden", "\udc80" * 500)
    for number, text in enumerate(texts):
        kind = "characters"
        yield lying(kind, f"warning-{number}", "switch", added, f"warning {text}")
        yield lying(kind, f"tool-{number}", "stage", swapped, "outcome", f"error internal_error {text}")
        yield lying(kind, f"printed-{number}", "before_switch", _printed, text)
        yield lying(kind, f"said-{number}", "stage", lambda call, text: [_bytes(f"{text}\n"), Exit(3)], text)


def _printed(call: Call, text: str) -> Saying:
    """A command's output, in the middle of an honest answer."""
    first = words_of(call)[:3]
    return [
        call.frames(*first),
        _bytes(f"{text}\n") * 20,
        *spoken(call, words_of(call)[3:]),
        Err(call.frames("end 0 0 5")),
    ]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _numbers() -> Iterator[Case]:
    tasks = {"ended": "before_switch", "switched": "switch", "command": "before_switch", "last": "state"}
    for number, (word, frame) in enumerate(NUMBERS):
        task = tasks.get(word, ("stage", "switch")[number % 2])
        yield lying("numbers", f"number-{number}: {frame[:30]!r}", task, swapped, word, frame)


def _kept() -> Iterator[Case]:
    """Paths that a node says it kept an upload under: they go back to it as an argument."""
    for number, path in enumerate(("/etc/passwd", "", "k" * 20_000, NASTY, "-rf /", "a b c")):
        case = lying("frames malformed", f"kept-{number}", "stage", added, f"kept {path}")
        yield replace(case, instances=2)
