"""What a node says that it runs, for many deploy roots in one go. Reads only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from inventory.names import is_name
from inventory.nodes.grammar import MOST_LISTED, survey_table
from inventory.nodes.program import ROOTS_AT_ONCE, ask
from inventory.nodes.transports.base import NodeMisbehaved, Transport
from inventory.releases import version_of

Frames = Sequence[tuple[str, str]]
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What `current` says. release '' with no problem: nothing was ever switched to there.

    version is that of .release.json, or the folder's name without it; sha256 is '' when not told. elsewhere: where the link
    leads when that is no release.
    """

    version: str = ""
    release: str = ""
    sha256: str = ""
    problem: str = ""
    elsewhere: str = ""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is in a deploy root. theirs: what another tool has put under releases/, the first fifty by name.

    stuck: what we could not remove, as (path, kilobytes).
    """

    reading: Reading
    theirs: tuple[str, ...]
    stuck: tuple[tuple[str, int], ...]


async def survey_roots(transport: Transport, roots: Sequence[str], *, timeout_seconds: float) -> list[Survey]:
    """One survey a root, in order, asked a bounded number at a time. Raises TransportError, NodeMisbehaved."""
    found: list[Survey] = []
    for start in range(0, len(roots), ROOTS_AT_ONCE):
        some = roots[start : start + ROOTS_AT_ONCE]
        frames = await ask(transport, "survey", some, survey_table(len(some)), timeout_seconds=timeout_seconds)
        told = [_survey(of_root) for of_root in _by_root(frames)]
        if len(told) != len(some):
            raise NodeMisbehaved(f"{len(told)} answers to {len(some)} questions")
        found += told
    return found


def _by_root(frames: Frames) -> list[list[tuple[str, str]]]:
    """Each begins with `current`."""
    roots: list[list[tuple[str, str]]] = []
    for frame in frames:
        if frame[0] == "current":
            roots.append([])
        if roots:
            roots[-1].append(frame)
    return roots


def _survey(frames: Frames) -> Survey:
    """Of one root; its first frame is `current`. More than our program ever lists is left out."""
    said = {word: [rest for each, rest in frames if each == word] for word in ("elsewhere", "theirs", "stuck")}
    stuck = [rest.partition(" ") for rest in said["stuck"][:MOST_LISTED]]
    return Survey(
        reading=reading(frames[0][1], "".join(said["elsewhere"][:1])),
        theirs=tuple(said["theirs"][:MOST_LISTED]),
        stuck=tuple((path, int(kilobytes)) for kilobytes, _, path in stuck),
    )


def reading(words: str, elsewhere: str = "") -> Reading:
    """Of a `current` frame (inventory/nodes/base.sh): KIND RELEASE VERSION SHA256, in the form that its table has."""
    match words.split(" "):
        case ["none", "-", "-", "-"]:
            return Reading()
        case ["release", release, version, sha256] if is_name(version_of(release)):
            return Reading(
                release=release,
                version=version if is_name(version) else version_of(release),
                sha256=sha256 if _SHA256.fullmatch(sha256) else "",
            )
        case _:
            but = f", but to {elsewhere}" if elsewhere else ""
            return Reading(problem=f"`current` leads to no release of ours{but}", elsewhere=elsewhere)
