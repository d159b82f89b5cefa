"""What is asked of a node, as pure builders of argument lists for the node program. No I/O but loading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from inventory.nodes.program import RUN, NodeCall, base_text, program_text

STDIN = "stdin"
URL = "url"
NO_SOURCE = NO_BASE = "-"
# For the digest of a release that another tool installed.
NOT_OURS = "-"
# What is decided of a switch that waits to be confirmed.
CONFIRMED, NOT_CONFIRMED, TAKEN_BACK = "1", "0", "-"


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
    upload_bytes: int,
    base: tuple[str, str] | None = None,
) -> list[str]:
    """source: STDIN, URL (a line on stdin, so that no process list shows it), NO_SOURCE (only look), or a path there.

    fetch_seconds: after how long the node gives up a URL. upload_bytes: how many come on STDIN. base: the release there, and the
    sha256 of its package, that what comes is a part for (`deploys.packages.parts`).
    """
    return call.arguments(
        "stage",
        release,
        version,
        sha256 or NOT_OURS,
        operation,
        artifact_sha256,
        source,
        "1" if keeps_upload else "0",
        str(fetch_seconds),
        str(upload_bytes),
        *(base or (NO_BASE, NO_BASE)),
    )


def check_release(call: NodeCall, *, release: str, sha256: str) -> list[str]:
    return call.arguments("check_release", release, sha256)


def before_switch(
    call: NodeCall, *, release: str, timeout_seconds: int, command: str, env: Mapping[str, str]
) -> list[str]:
    return call.arguments("before_switch", release, str(timeout_seconds), command, *_pairs(env))


def switch(
    call: NodeCall,
    *,
    release: str,
    sha256: str,
    operation: str,
    timeout_seconds: int,
    restart_command: str,
    keep: Iterable[str],
    version_timeout_seconds: int,
    version_command: str,
    confirm_within_seconds: int,
    env: Mapping[str, str],
) -> list[str]:
    """sha256: '' for a release that another tool installed. keep: the releases that the clean-up spares besides this one
    and the one before it. version_command: '' when nothing has to say which version runs. confirm_within_seconds: 0 for a
    switch that nobody has to confirm.
    """
    return call.arguments(
        "switch",
        release,
        sha256 or NOT_OURS,
        operation,
        str(timeout_seconds),
        restart_command,
        " ".join(keep),
        str(version_timeout_seconds),
        version_command,
        str(confirm_within_seconds),
        *_pairs(env),
    )


def conclude(
    call: NodeCall,
    *,
    decision: str,
    operation: str,
    timeout_seconds: int,
    restart_command: str,
    keep: Iterable[str],
    env: Mapping[str, str],
) -> list[str]:
    """decision: CONFIRMED, NOT_CONFIRMED or TAKEN_BACK."""
    return call.arguments(
        "conclude", decision, operation, str(timeout_seconds), restart_command, " ".join(keep), *_pairs(env)
    )


def state(call: NodeCall) -> list[str]:
    return call.arguments("state")


def abort(call: NodeCall) -> list[str]:
    return call.arguments("abort")


def mute(call: NodeCall, *, reader: str, program: str) -> list[str]:
    """reader, program: process ids from the `command` frame."""
    return call.arguments("mute", reader, program)


def forget(call: NodeCall, *, path: str) -> list[str]:
    """path: an upload that was kept for the node's other instances."""
    return call.arguments("forget", path)


@cache
def node_program() -> str:
    """What all of these are for. It understands `inventory.nodes.transports.ssh_standby`."""
    return f"{base_text()}\n{program_text(Path(__file__).parent / 'program.sh')}\n{RUN}"


def _pairs(env: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(env.items())]
