"""rsync -a --link-dest over OpenSSH: what is as in the running release becomes a hard link to it, the rest is sent, packed.

The switch goes over the same connection: OpenSSH keeps it for that.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from bench.competitors.fleet import PUBLISH, RESTART, SWITCH, Fleet
from bench.competitors.openssh import AT_ONCE, ssh_command


class Rsync:
    name = "rsync -az --link-dest, xargs -P50"

    def __init__(self, fleet: Fleet) -> None:
        if shutil.which("rsync") is None:
            raise RuntimeError("rsync is missing: install it (`make bench` does, where it may)")
        self.fleet = fleet

    def deploy(self, tree: Path, version: str, before: str) -> None:
        """tree: the new release. before: the version that is on every node."""
        subprocess.run(
            ("xargs", f"-P{AT_ONCE}", "-I{}", "sh", "-c", self._on_node(tree, version, before)),
            input="\n".join(self.fleet.roots).encode(),
            check=True,
        )

    def _on_node(self, tree: Path, version: str, before: str) -> str:
        """A connection for each node, though all are one server: a socket of its own for the one that is kept."""
        sockets = self.fleet.folder / "s"
        sockets.mkdir(exist_ok=True)
        *ssh, where = ssh_command(self.fleet)
        ssh[ssh.index("ControlMaster=no")] = "ControlMaster=auto"
        kept = f"-o ControlPersist=2 -o ControlPath={sockets}/%h-$(basename {{}})"
        options = f"-az --delete --link-dest=../{before}"
        to = f"{where}:{{}}/releases/{version}.tmp/"
        finish = " && ".join((PUBLISH, SWITCH, RESTART)).format(root="{}", version=version)
        remote = f'"{shlex.join(ssh)} {kept}"'
        return (
            f"rsync {options} -e {remote} {shlex.quote(str(tree))}/ {to} && {shlex.join(ssh)} {kept} {where} '{finish}'"
        )


def seed(fleet: Fleet, tree: Path, version: str) -> None:
    """The release that runs there, with nothing sent."""
    for root in map(Path, fleet.roots):
        (root / "releases").mkdir()
        subprocess.run(("cp", "-a", str(tree), str(root / "releases" / version)), check=True)
        (root / "current").symlink_to(f"releases/{version}")
        owner = root.stat()
        if os.geteuid() == 0:
            subprocess.run(("chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(root)), check=True)
