"""What every competitor is given: nodes, a package, and what to do on a node, as shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.sshd import SshServer

UNPACK = "mkdir -p {root}/releases/{version}.tmp && tar -xzf {archive} -C {root}/releases/{version}.tmp"
PUBLISH = "mv -T {root}/releases/{version}.tmp {root}/releases/{version}"
SWITCH = "ln -sfn releases/{version} {root}/current.tmp && mv -T {root}/current.tmp {root}/current"
RESTART = "cd {root}/current && echo {version} >>{root}/restarts"


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """roots: one a node; all nodes are one sshd, and each gets a connection of its own."""

    sshd: SshServer
    roots: Sequence[str]
    folder: Path

    @property
    def size(self) -> int:
        return len(self.roots)

    @property
    def known_hosts(self) -> Path:
        path = self.folder / "known_hosts"
        if not path.exists():
            names = ",".join(f"[{name}]:{self.sshd.port}" for name in (self.sshd.host, "localhost"))
            path.write_text(f"{names} {self.sshd.host_key}\n")
        return path


def deploy_script(root: str, version: str, archive: str) -> str:
    """archive: where the package lies on the node; `-` for the command's input."""
    steps = " && ".join((UNPACK, PUBLISH, SWITCH, RESTART))
    return steps.format(root=root, version=version, archive=archive)


def rollback_script(root: str, version: str) -> str:
    return " && ".join((SWITCH, RESTART)).format(root=root, version=version)
