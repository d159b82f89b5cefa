"""ansible-core: pipelining on, facts off, as many forks as nodes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from bench.competitors.fleet import PUBLISH, RESTART, SWITCH, Fleet, rollback_script
from bench.competitors.toolbox import tool

ROOT, VERSION = "{{ root }}", "{{ version }}"


class Ansible:
    name = "Ansible, forks=N"

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._inventory = fleet.folder / "inventory.json"
        self._inventory.write_text(json.dumps(_inventory(fleet)))
        self._configuration = fleet.folder / "ansible.cfg"
        self._configuration.write_text(
            "[defaults]\nhost_key_checking = True\nretry_files_enabled = False\nstdout_callback = minimal\n"
            "display_ok_hosts = False\nnocows = True\n[ssh_connection]\npipelining = True\n"
            f"ssh_args = -F none -o UserKnownHostsFile={fleet.known_hosts} -o ControlMaster=auto -o ControlPersist=60s\n"
            f"control_path_dir = {fleet.folder}/c\n"
        )

    def deploy(self, version: str, package: Path) -> None:
        finish = " && ".join((PUBLISH, SWITCH, RESTART)).format(root=ROOT, version=VERSION)
        folder = f"{ROOT}/releases/{VERSION}.tmp"
        self._play(
            version,
            [
                {"ansible.builtin.file": {"path": folder, "state": "directory"}},
                {"ansible.builtin.unarchive": {"src": str(package), "dest": folder}},
                {"ansible.builtin.shell": finish},
            ],
        )

    def roll_back(self, version: str) -> None:
        self._play(version, [{"ansible.builtin.shell": rollback_script(ROOT, VERSION)}])

    def _play(self, version: str, tasks: list[dict[str, Any]]) -> None:
        playbook = self.fleet.folder / "playbook.json"
        play = {"hosts": "all", "gather_facts": False, "vars": {"version": version}, "tasks": tasks}
        playbook.write_text(json.dumps([play]))
        command = (tool("ansible-playbook"), "-i", str(self._inventory), "-f", str(self.fleet.size), str(playbook))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self._configuration),
            "ANSIBLE_HOME": str(self.fleet.folder / "home"),
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"ansible-playbook: {done.stdout[-2000:]}{done.stderr[-2000:]}")


class AnsibleRsync(Ansible):
    """What ansible.posix.synchronize does: rsync, started on this side for each node."""

    name = "Ansible, rsync -az --link-dest"

    def deploy(self, tree: Path, version: str, before: str) -> None:  # type: ignore[override]
        sshd = self.fleet.sshd
        ssh = f"ssh -F none -o UserKnownHostsFile={self.fleet.known_hosts} -i {sshd.private_key} -p {sshd.port}"
        to = f"{sshd.user}@{sshd.host}:{ROOT}/releases/{VERSION}.tmp/"
        options = ["-az", "--delete", f"--link-dest=../{before}", "-e", ssh]
        finish = " && ".join((PUBLISH, SWITCH, RESTART)).format(root=ROOT, version=VERSION)
        self._play(
            version,
            [
                {
                    "ansible.builtin.command": {"argv": ["rsync", *options, f"{tree}/", to]},
                    "delegate_to": "localhost",
                    "vars": {"ansible_connection": "local", "ansible_remote_tmp": f"{self.fleet.folder}/tmp"},
                },
                {"ansible.builtin.shell": finish},
            ],
        )


def _inventory(fleet: Fleet) -> dict[str, Any]:
    sshd = fleet.sshd
    hosts = {
        # An address of its own, so that Ansible does not share one connection among the nodes.
        f"node-{number}": {"root": root, "ansible_ssh_extra_args": f"-o HostKeyAlias=[{sshd.host}]:{sshd.port}"}
        for number, root in enumerate(fleet.roots, start=1)
    }
    variables = {
        "ansible_host": sshd.host,
        "ansible_port": sshd.port,
        "ansible_user": sshd.user,
        "ansible_ssh_private_key_file": str(sshd.private_key),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_remote_tmp": "{{ root }}/.ansible",
        "ansible_control_path": f"{fleet.folder}/c/{{{{ inventory_hostname }}}}",
    }
    return {"all": {"hosts": hosts, "vars": variables}}
