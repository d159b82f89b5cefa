"""Runs `manage.py demo` as a person would: in a checkout of its own, from a terminal's point of view."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from releasesite.demo.children import lives
from releasesite.demo.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
LAST_LINE = "Ctrl-C stops all of it."
START_SECONDS = 150
STOP_SECONDS = 60
NOT_COPIED = (".git", ".venv", "var", "staticfiles", "__pycache__", ".*_cache", ".hypothesis")
NOT_INHERITED = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "PORT")


@contextmanager
def checkout() -> Iterator[Path]:
    """A copy of the tree without what is not part of it. Readable by all: PostgreSQL may run as another account."""
    folder = Path(tempfile.mkdtemp(prefix="release-demo-"))
    folder.chmod(0o755)
    try:
        yield Path(
            shutil.copytree(ROOT, folder / "checkout", ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
        )
    finally:
        for process in processes_of(folder):
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def clean_environment(**variables: str) -> dict[str, str]:
    """Without the settings of the test run itself."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("RELEASE_")}
    return {**{key: value for key, value in own.items() if key not in NOT_INHERITED}, **variables}


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every living process that was started for this folder, however far it has gone from its parents."""
    return [process for process in psutil.process_iter() if lives(process) and _belongs(process, str(folder))]


def _belongs(process: psutil.Process, folder: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        with process.oneshot():
            told = [process.cwd(), *process.cmdline(), *process.environ().values()]
    except psutil.Error:
        return False
    return any(folder in text for text in told)


def wait_until_gone(folder: Path, *, seconds: float) -> list[str]:
    """What still lives after so many seconds; empty as soon as nothing does."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"{process.pid} {' '.join(process.cmdline())}" for process in left if lives(process)]


@dataclass(kw_only=True)
class RunningDemo:
    folder: Path
    port: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.folder / "var" / "demo" / "token").read_text().strip()

    @property
    def package_port(self) -> int:
        return int((self.folder / "var" / "demo" / "package-port").read_text())

    @property
    def instance_ports(self) -> dict[str, int]:
        return {name: int(port) for name, port in re.findall(r"(demo-\d) on port (\d+)", self.output)}

    def printed_curls(self) -> list[str]:
        return [line.strip() for line in self.lines if line.startswith("curl ")]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=10)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        result: dict[str, Any] = answer.json()
        return result

    def deploy(self, version: str, deploy_id: str) -> dict[str, Any]:
        """Its status at the end."""
        body = {
            "service": "demo-service",
            "version": version,
            "instances": ["demo-1", "demo-2", "demo-3"],
            "package_url": f"http://127.0.0.1:{self.package_port}/demo-service-{version}.tar.gz",
            "deploy_id": deploy_id,
        }
        self.call("POST", "/v1/deploy/execute", body)
        return self.end_of(f"/v1/deploy/status/{deploy_id}")

    def end_of(self, status_path: str, *, seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (status := self.call("GET", status_path))["completed_at"] is None:
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        return status

    def end_of_all(self) -> None:
        for kind in ("deploy", "rollback"):
            for operation in self.call("GET", f"/v1/{kind}/list")[f"{kind}s"]:
                self.end_of(f"/v1/{kind}/status/{operation[f'{kind}_id']}")

    def ask_instances(self) -> dict[str, Any]:
        """What each service process says of itself."""
        return {
            name: requests.get(f"http://127.0.0.1:{port}/", timeout=5).json()
            for name, port in self.instance_ports.items()
        }

    def versions(self) -> dict[str, str]:
        return {name: about["version"] for name, about in self.ask_instances().items()}

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(sign)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running_demo(folder: Path, *, port: int | None = None, **variables: str) -> Iterator[RunningDemo]:
    """Up and ready; stopped at the end in the way of Ctrl-C, if it still runs."""
    demo = start_demo(folder, port=port or free_port(), **variables)
    try:
        wait_until_ready(demo)
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.stop()


def start_demo(folder: Path, *, port: int, **variables: str) -> RunningDemo:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=folder,
        env=clean_environment(PORT=str(port), **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    demo = RunningDemo(folder=folder, port=port, process=process)
    threading.Thread(target=lambda: demo.lines.extend(process.stdout or ()), daemon=True).start()
    return demo


def wait_until_ready(demo: RunningDemo) -> None:
    deadline = time.monotonic() + START_SECONDS
    while LAST_LINE not in demo.output:
        assert demo.process.poll() is None, demo.output
        assert time.monotonic() < deadline, demo.output
        time.sleep(0.05)
