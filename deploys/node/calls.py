"""What is asked of a node, as pure builders of argument lists for deploys/node/program.sh. No I/O but loading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STDIN = "stdin"
URL = "url"
NO_SOURCE = "-"


@dataclass(frozen=True, kw_only=True)
class NodeCall:
    """Where and as whom the program works. mark: what its frames start with. root: an absolute path on the node."""

    mark: str
    root: str
    fence: int

    def argv(self, task: str, *arguments: str) -> list[str]:
        return [*head(), self.mark, task, self.root, str(self.fence), *arguments]


def stage(
    call: NodeCall,
    *,
    release: str,
    version: str,
    sha256: str,
    operation: str,
    artifact_sha256: str,
    source: str,
    keeps_upload: bool,
    fetch_seconds: int,
) -> list[str]:
    """source: STDIN, URL (a line on stdin, so that no process list shows it), NO_SOURCE (only look), or a path there.

    fetch_seconds: after how long the node gives up a URL.
    """
    keeps = "1" if keeps_upload else "0"
    return call.argv("stage", release, version, sha256, operation, artifact_sha256, source, keeps, str(fetch_seconds))


def before_switch(
    call: NodeCall, *, release: str, timeout_seconds: int, command: str, env: Mapping[str, str]
) -> list[str]:
    return call.argv("before_switch", release, str(timeout_seconds), command, *_pairs(env))


def switch(
    call: NodeCall,
    *,
    release: str,
    sha256: str,
    operation: str,
    timeout_seconds: int,
    restart_command: str,
    keep: Iterable[str],
    env: Mapping[str, str],
) -> list[str]:
    """keep: the releases that the clean-up spares besides this one and the one before it."""
    return call.argv(
        "switch", release, sha256, operation, str(timeout_seconds), restart_command, " ".join(keep), *_pairs(env)
    )


def truth(call: NodeCall) -> list[str]:
    return call.argv("truth")


def abort(call: NodeCall) -> list[str]:
    return call.argv("abort")


def mute(call: NodeCall, *, reader: str, program: str) -> list[str]:
    """reader, program: process ids from the `command` frame."""
    return call.argv("mute", reader, program)


def head() -> list[str]:
    """What every call begins with. The program understands `inventory.nodes.transports.ssh_standby`."""
    return ["sh", "-c", program_text(), "release-node"]


@cache
def program_text() -> str:
    """The node program without its comments and indentation: it travels with every call."""
    lines = (Path(__file__).parent / "program.sh").read_text().splitlines()
    stripped = (line.lstrip("\t") for line in lines)
    return "\n".join(line for line in stripped if line and not line.startswith("#"))


def _pairs(env: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(env.items())]
