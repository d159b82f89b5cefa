"""Plain OpenSSH, 50 at a time: `xargs -P50 ssh … tar xz`. The least that anything over SSH can do."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from bench.competitors.fleet import Fleet, deploy_script, rollback_script

AT_ONCE = 50


class OpenSsh:
    name = "OpenSSH, xargs -P50"

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def deploy(self, version: str, package: Path) -> None:
        self._on_all(deploy_script("{}", version, "-"), stdin=package)

    def roll_back(self, version: str) -> None:
        self._on_all(rollback_script("{}", version), stdin=Path("/dev/null"))

    def _on_all(self, script: str, *, stdin: Path) -> None:
        ssh = shlex.join(ssh_command(self.fleet))
        subprocess.run(
            ("xargs", f"-P{AT_ONCE}", "-I{}", "sh", "-c", f"{ssh} '{script}' <{shlex.quote(str(stdin))}"),
            input="\n".join(self.fleet.roots).encode(),
            check=True,
        )


def ssh_command(fleet: Fleet) -> list[str]:
    sshd = fleet.sshd
    options = ("BatchMode=yes", f"UserKnownHostsFile={fleet.known_hosts}", "IdentitiesOnly=yes", "ControlMaster=no")
    return [
        "ssh",
        "-F",
        "none",
        *(word for option in options for word in ("-o", option)),
        "-i",
        str(sshd.private_key),
        "-p",
        str(sshd.port),
        f"{sshd.user}@{sshd.host}",
    ]
