"""The demo's service processes: stopping those of an earlier run, and bringing back what each instance ran."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from inventory.models import Instance
from releasesite.demo.layout import Layout, write_secret

RESTART_SECONDS = 30
STOP_SECONDS = 3


def configure(layout: Layout, instances: Iterable[Instance], *, api: str, token: str) -> None:
    """Tell each instance, in a file of mode 0600 that only it reads, whom to report to and when to leave."""
    for instance in instances:
        config = {"api": api, "token": token, "demo_lock": str(layout.lock)}
        write_secret(Path(instance.deploy_root, "run", "demo.json"), json.dumps(config))


def bring_back(instances: Iterable[Instance]) -> list[str]:
    """Restart the current release of every instance that has one; returns a line for each that didn't come back."""
    released = [instance for instance in instances if current_version(instance)]
    with ThreadPoolExecutor() as pool:
        return [problem for problem in pool.map(restart, released) if problem]


def current_version(instance: Instance) -> str:
    """What the node says; empty when nothing was ever released there."""
    try:
        version = json.loads(Path(instance.deploy_root, "current", ".release.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return ""
    return str(version)


def restart(instance: Instance) -> str:
    """Run the service's restart command as a switch would; empty when it worked, else what it said."""
    version = current_version(instance)
    release = {
        "RELEASE_SERVICE": instance.service.name,
        "RELEASE_VERSION": version,
        "RELEASE_PREVIOUS_VERSION": version,
        "RELEASE_INSTANCE": instance.instance_id,
        "RELEASE_PORT": str(instance.port),
        "RELEASE_ROOT": instance.deploy_root,
        "RELEASE_OPERATION": "demo-start",
    }
    try:
        done = subprocess.run(
            ["sh", "-c", instance.service.restart_command],
            cwd=Path(instance.deploy_root, "current").resolve(),
            env={"PATH": os.environ.get("PATH", os.defpath), **release},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RESTART_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{instance.instance_id} did not come back within {RESTART_SECONDS} s"
    if done.returncode != 0:
        return f"{instance.instance_id} did not come back on {version}: {done.stdout.strip()}"
    return ""


def stop_all(layout: Layout) -> None:
    """End every service process of this demo, known to the database or not, and wait for it."""
    roots = list(layout.node.iterdir())
    for sign in (signal.SIGTERM, signal.SIGKILL):
        send(sign, roots)
        deadline = time.monotonic() + STOP_SECONDS
        while any(map(service_process, roots)):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)


def send(sign: signal.Signals, roots: Iterable[Path]) -> None:
    for process in filter(None, map(service_process, roots)):
        try:
            process.send_signal(sign)
        except psutil.NoSuchProcess:
            continue


def service_process(root: Path) -> psutil.Process | None:
    """Whoever holds the instance's lock: a pid in an unlocked file may be anybody's by now."""
    try:
        with (root / "run" / "service.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return psutil.Process(int(lock.read()))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    return None
