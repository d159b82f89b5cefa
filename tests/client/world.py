"""A running system, and the command `release` as a process in front of it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from inventory.models import Service
from tests.support.api import new_token
from tests.support.lab import Lab
from tests.support.package_host import Behaviour, serving

SOURCES = Path(settings.BASE_DIR) / "client" / "src"
SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class World:
    lab: Lab
    folder: Path
    token_file: Path
    url: str = ""

    def served_at(self, url: str) -> World:
        return replace(self, url=url)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "release_client", *arguments],
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def release(self, *arguments: str, **variables: str) -> Ran:
        return ended(self.start(*arguments, **variables))

    def on_a_terminal(self, *arguments: str) -> str:
        """All that somebody at a terminal is shown."""
        ours, its = pty.openpty()
        command = [sys.executable, "-m", "release_client", *arguments]
        environment = self.environment(TERM="xterm", COLUMNS="120")
        process = subprocess.Popen(command, env=environment, stdin=its, stdout=its, stderr=its)
        os.close(its)
        shown = b"".join(_read_all(ours))
        assert process.wait(SECONDS) == 0, shown
        return shown.decode()

    def environment(self, **variables: str) -> dict[str, str]:
        """Of a machine that has nothing but the client."""
        ours = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
        where = {"RELEASE_URL": self.url, "RELEASE_TOKEN_FILE": str(self.token_file), "PYTHONPATH": str(SOURCES)}
        return {**ours, **where, **variables}

    def slow_package(self, version: str) -> str:
        """Its URL. The package host takes connections to it, and sends nothing."""
        url = self.lab.add_package(version)
        self.lab.package_host.behave(f"{version}.tar.gz", Behaviour(silent_seconds=SECONDS))
        return url


def _read_all(terminal: int) -> Iterator[bytes]:
    """Until the last process has closed the other end: Linux says EIO then."""
    with suppress(OSError):
        while data := os.read(terminal, 65536):
            yield data


def ended(process: subprocess.Popen[str]) -> Ran:
    out, err = process.communicate(timeout=SECONDS)
    return Ran(status=process.returncode, out=out, err=err)


@contextmanager
def build_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("client")
    with serving(tmp_path_factory.mktemp("packages")) as package_host:
        lab = Lab.build(folder, package_host, count=2)
        Service.objects.update(before_switch_command='echo "preparing $RELEASE_VERSION"')
        token_file = folder / "token"
        token_file.write_text(new_token() + "\n")
        yield World(lab=lab, folder=folder, token_file=token_file)
