"""pyinfra: all nodes in parallel, files.put and server.shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.competitors.fleet import Fleet, deploy_script, rollback_script
from bench.competitors.toolbox import tool

INVENTORY = """\
from pathlib import Path

nodes = [
    ("{{}}-{{}}".format("node", number), {{
        "root": root, "ssh_hostname": {host!r}, "ssh_port": {port}, "ssh_user": {user!r}, "ssh_key": {key!r},
        "ssh_known_hosts_file": {known_hosts!r}, "ssh_look_for_keys": False, "ssh_allow_agent": False,
        "ssh_config_file": "/dev/null",
    }})
    for number, root in enumerate({roots!r})
]
"""
PUT = "files.put(src={package!r}, dest=root + '/package.tar.gz', assume_exists=True)\n"
OPERATIONS = """\
from pyinfra import host
from pyinfra.operations import files, server

root = host.data.root
{put}server.shell(commands=[{script!r}.replace("(root)", root)])
"""


class Pyinfra:
    name = "pyinfra, parallel=N"

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        sshd = fleet.sshd
        (fleet.folder / "inventory.py").write_text(
            INVENTORY.format(
                host=sshd.host,
                port=sshd.port,
                user=sshd.user,
                key=str(sshd.private_key),
                known_hosts=str(fleet.known_hosts),
                roots=list(fleet.roots),
            )
        )

    def deploy(self, version: str, package: Path) -> None:
        script = deploy_script("(root)", version, "(root)/package.tar.gz") + " && rm (root)/package.tar.gz"
        self._run(script, put=PUT.format(package=str(package)))

    def roll_back(self, version: str) -> None:
        self._run(rollback_script("(root)", version), put="")

    def _run(self, script: str, *, put: str) -> None:
        (self.fleet.folder / "operations.py").write_text(OPERATIONS.format(put=put, script=script))
        command = (tool("pyinfra"), "-y", "--parallel", str(self.fleet.size), "inventory.py", "operations.py")
        done = subprocess.run(
            command, cwd=self.fleet.folder, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
        )
        if done.returncode != 0:
            raise RuntimeError(f"pyinfra: {done.stdout[-2000:]}{done.stderr[-2000:]}")
