"""Fabric: a thread a node, the package by SFTP, one command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.competitors.fleet import Fleet, deploy_script, rollback_script
from bench.competitors.toolbox import tool


class Fabric:
    name = "Fabric, a thread a node"

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def deploy(self, version: str, package: Path) -> None:
        script = deploy_script("{root}", version, "{root}/package.tar.gz") + " && rm {root}/package.tar.gz"
        self._run(script, str(package))

    def roll_back(self, version: str) -> None:
        self._run(rollback_script("{root}", version), "")

    def _run(self, script: str, package: str) -> None:
        sshd = self.fleet.sshd
        job = {
            "host": sshd.host,
            "user": sshd.user,
            "port": sshd.port,
            "key": str(sshd.private_key),
            "roots": list(self.fleet.roots),
            "script": script,
            "package": package,
        }
        path = self.fleet.folder / "fabric.json"
        path.write_text(json.dumps(job))
        program = Path(__file__).parent / "fabric_tasks.py"
        done = subprocess.run((tool("python"), "-P", str(program), str(path)), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"fabric: {done.stderr[-2000:]}")
