"""What a node says that it runs, for many deploy roots in one go. Reads only; needs sh and coreutils on the node."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from inventory.names import is_name
from inventory.nodes.transports.base import ConnectionLost, Transport
from inventory.releases import version_of

# Three NUL-ended fields a root: found | none | nowhere, where `current` leads, and the start of its .release.json.
READ_PROGRAM = r"""
for root do
	found=none link=
	if [ -L "$root/current" ]; then
		link=$(readlink -- "$root/current")
		found=nowhere
		[ -d "$root/current/" ] && found=found
	elif [ -e "$root/current" ]; then
		found=nowhere
	fi
	printf '%s\0%s\0' "$found" "$link"
	[ "$found" != found ] || head -c 4096 -- "$root/current/.release.json" 2>/dev/null | tr -d '\000'
	printf '\0'
done
"""
# An argument list has a limit of its own (sshd takes one command line), far above this many.
_ROOTS_AT_ONCE = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What `current` says. release '' with no problem: nothing was ever switched to there.

    version is that of .release.json, or the folder's name without it; sha256 is '' when not told.
    """

    version: str = ""
    release: str = ""
    sha256: str = ""
    problem: str = ""


async def read_roots(transport: Transport, roots: Sequence[str], *, timeout_seconds: float) -> list[Reading]:
    """One reading a root, in order. Raises TransportError."""
    readings: list[Reading] = []
    for start in range(0, len(roots), _ROOTS_AT_ONCE):
        some = roots[start : start + _ROOTS_AT_ONCE]
        argv = ["sh", "-c", READ_PROGRAM, "release-read", *some]
        result = await transport.run(argv, timeout_seconds=timeout_seconds)
        readings += parse(result.stdout, some)
    return readings


def parse(output: bytes, roots: Sequence[str]) -> list[Reading]:
    """Raises ConnectionLost when the output is not whole."""
    fields = output.split(b"\0")
    if len(fields) != 3 * len(roots) + 1:
        raise ConnectionLost("The node's answer was cut short.")
    triples = zip(fields[0::3], fields[1::3], fields[2::3], roots, strict=False)
    return [_reading(found, link.decode(errors="replace"), told, root) for found, link, told, root in triples]


def _reading(found: bytes, link: str, told: bytes, root: str) -> Reading:
    if found == b"none":
        return Reading()
    folder, _, release = link.removeprefix(f"{root}/").rstrip("/").rpartition("/")
    if found == b"nowhere" or not link:
        return Reading(problem=f"{root}/current leads to no release")
    if folder != "releases" or not is_name(version_of(release)):
        return Reading(problem=f"{root}/current leads outside {root}/releases")
    version, sha256 = _told(told)
    return Reading(version=version or version_of(release), release=release, sha256=sha256)


def _told(text: bytes) -> tuple[str, str]:
    """version and sha256 of a .release.json, each '' when it says nothing that can be true."""
    try:
        told = json.loads(text)
    except ValueError:
        return "", ""
    if not isinstance(told, dict):
        return "", ""
    version, sha256 = told.get("version"), told.get("sha256")
    is_digest = isinstance(sha256, str) and _SHA256.fullmatch(sha256)
    return (str(version) if is_name(version) else ""), (str(sha256) if is_digest else "")
