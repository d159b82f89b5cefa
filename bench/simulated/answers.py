"""What deploys/node/program.sh says where every call succeeds: so much of a node as the commanding side can tell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

OUT, ERR = 0, 1
COMMAND = ("command 11 12 13", "end 0 0 1")


@dataclass(kw_only=True)
class Root:
    """One deploy root. releases: version and digest of each that was staged."""

    current: str = "-"
    releases: dict[str, tuple[str, str]] = field(default_factory=dict)

    def told(self) -> str:
        """The frame that says what `current` leads to."""
        if self.current == "-":
            return "current none - - -"
        return f"current release {self.current} {' '.join(self.releases[self.current])}"


@dataclass(frozen=True, kw_only=True)
class Said:
    """frames: on stdout, before what comes on stdin. then: after it. errors: on stderr, last."""

    frames: Sequence[str]
    awaits_bytes: int = 0
    then: Sequence[str] = ()
    errors: Sequence[str] = ()


def said_to(task: str, root: Root, arguments: Sequence[str]) -> Said:
    match task:
        case "stage":
            return _stage(root, arguments)
        case "switch":
            return _switch(root, arguments[0])
        case "state":
            return Said(frames=["begun", root.told(), "over"])
        case "survey":
            # As of roots where nothing was ever put: who asks does so of the real ones alone.
            return Said(frames=["begun", root.told(), *["current none - - -"] * len(arguments), "over"])
        case "abort" | "mute" | "forget":
            return Said(frames=["begun", "over"])
        case _:
            raise ValueError(f"no simulated node does {task}")


def _stage(root: Root, arguments: Sequence[str]) -> Said:
    release, version, sha256, _operation, _artifact, source, _keep, _seconds, size, base, base_sha256 = arguments
    begun = ["begun", root.told()]
    if root.releases.get(release) == (version, sha256):
        return Said(frames=[*begun, "outcome present", "over"])
    if base != "-" and root.releases.get(base, ("", ""))[1] != base_sha256:
        return Said(frames=[*begun, f"base gone {base}", "outcome no_base", "over"])
    if source != "stdin":
        return Said(frames=[*begun, "outcome needs_artifact", "over"])
    root.releases[release] = (version, sha256)
    return Said(frames=[*begun, "step stage"], awaits_bytes=int(size), then=["outcome installed", "over"])


def _switch(root: Root, release: str) -> Said:
    before, root.current = root.current, release
    ran = ["begun", "step switch", f"linked {before} {release}", "step restart", *COMMAND]
    return Said(frames=[*ran, f"switched {before} 0 0 0 - 0", "over"], errors=COMMAND[1:])


def words_of(line: str) -> list[str]:
    """A line of arguments, as `inventory.nodes.transports.bootstrap.line` quotes it."""
    return [word.replace("$nl", "\n") for word in shlex.split(line)]
