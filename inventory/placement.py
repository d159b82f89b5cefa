"""Where instances live: no two share a deploy root, no root lies inside another's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Nodes with the transport `local` are all the worker's own machine; ssh nodes are told apart by where ssh connects.
# The same address behind another jump host is another machine.
Place = tuple[str, str, int, str, str]


@dataclass(frozen=True, kw_only=True)
class Root:
    """One instance's deploy root; path is absolute and in normal form."""

    place: Place
    path: str
    instance_id: str


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """inner's path is outer's, or lies inside it."""

    outer: Root
    inner: Root


def place_of(*, transport: str, host: str, ssh_port: int, jump: str = "", socket: str = "") -> Place:
    """jump: which jump host, in any one spelling; '' for none."""
    if transport == "local":
        return ("local", "", 0, "", "")
    return (transport, host.lower().removesuffix("."), ssh_port, jump, socket)


def overlaps(roots: Iterable[Root]) -> Iterator[Overlap]:
    """Every root that equals or lies inside another one of the same place, with the outermost such one."""
    outer: Root | None = None
    # By the path's parts, not its text: /a-b would sort between /a and /a/b.
    for root in sorted(roots, key=lambda root: (root.place, root.path.split("/"), root.instance_id)):
        if outer is not None and root.place == outer.place and f"{root.path}/".startswith(f"{outer.path}/"):
            yield Overlap(outer=outer, inner=root)
        else:
            outer = root
