"""The demo's service as a node would run it: real processes, no system around them."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import psutil
import pytest

from releasesite.demo import lock, ports
from releasesite.demo.children import lives
from releasesite.demo.instances import service_process
from releasesite.demo.layout import Layout, write_secret
from releasesite.demo.packages import build_all, package_name


@dataclass(frozen=True, kw_only=True)
class Place:
    """One instance's deploy root, with every version unpacked."""

    root: Path
    port: int

    def restart(self, version: str, *, folder: str = "") -> subprocess.CompletedProcess[str]:
        env = {
            "RELEASE_SERVICE": "demo-service",
            "RELEASE_VERSION": version,
            "RELEASE_INSTANCE": "demo-1",
            "RELEASE_PORT": str(self.port),
            "RELEASE_ROOT": str(self.root),
        }
        return subprocess.run(
            [sys.executable, "bin/restart.py"],
            cwd=self.root / "releases" / (folder or version),
            env=env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def ask(self, accept: str = "application/json") -> str:
        with urlopen(Request(f"http://127.0.0.1:{self.port}/", headers={"Accept": accept}), timeout=5) as answer:
            return str(answer.read().decode())

    def about(self) -> dict[str, Any]:
        about: dict[str, Any] = json.loads(self.ask())
        return about


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    packages = tmp_path / "packages"
    packages.mkdir()
    build_all(packages)
    place = Place(root=tmp_path / "demo-1", port=ports.free_port())
    for version in ("v1.0.0", "v1.1.0", "v1.3.0"):
        with tarfile.open(packages / package_name(version)) as archive:
            archive.extractall(place.root / "releases" / version, filter="data")
    yield place
    process = service_process(place.root)
    if process:
        process.kill()


def test_it_tells_which_version_it_is(place: Place) -> None:
    done = place.restart("v1.0.0")

    assert done.returncode == 0, done.stderr
    about = place.about()
    assert about["service"] == "demo-service"
    assert about["version"] == "v1.0.0"
    assert about["instance"] == "demo-1"
    assert about["port"] == place.port
    assert lives(psutil.Process(about["pid"]))
    assert about["started_at"].endswith("Z")


def test_browsers_get_a_page_in_the_versions_colour(place: Place) -> None:
    place.restart("v1.1.0")

    page = place.ask(accept="text/html,*/*")

    assert "<h1" in page
    assert "v1.1.0" in page
    assert "#1d7a46" in page


def test_a_restart_ends_the_old_process_before_the_new_one_answers(place: Place) -> None:
    place.restart("v1.0.0")
    old = psutil.Process(place.about()["pid"])

    done = place.restart("v1.1.0")

    assert done.returncode == 0, done.stderr
    assert not lives(old)
    assert place.about()["version"] == "v1.1.0"


def test_a_restart_ends_even_a_process_that_ignores_sigterm(place: Place) -> None:
    place.restart("v1.0.0")
    stuck = psutil.Process(place.about()["pid"])
    stuck.suspend()  # a stopped process handles no SIGTERM

    done = place.restart("v1.1.0")

    assert done.returncode == 0, done.stderr
    assert not lives(stuck)
    assert place.about()["version"] == "v1.1.0"


def test_the_process_outlives_the_restart_command_in_a_session_of_its_own(place: Place) -> None:
    place.restart("v1.0.0")

    pid = place.about()["pid"]

    assert os.getsid(pid) == pid
    assert psutil.Process(pid).ppid() != os.getpid()


def test_the_version_that_ends_at_its_start_fails_its_restart_and_says_why(place: Place) -> None:
    done = place.restart("v1.3.0")

    assert done.returncode == 1
    assert "KeyError: 'colour'" in done.stderr
    assert "ended at once" in done.stderr
    assert service_process(place.root) is None


def test_another_version_than_the_one_asked_for_fails_the_restart(place: Place) -> None:
    done = place.restart("v9.9.9", folder="v1.0.0")

    assert done.returncode == 1
    assert "the package holds v1.0.0, not v9.9.9" in done.stderr
    assert service_process(place.root) is None


def test_a_pid_left_by_a_dead_process_is_nobodys(place: Place) -> None:
    place.restart("v1.0.0")
    os.kill(place.about()["pid"], signal.SIGKILL)
    time.sleep(0.1)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (place.root / "run" / "service.lock").write_text(str(bystander.pid))

        done = place.restart("v1.0.0")

        assert done.returncode == 0, done.stderr
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_restart_while_the_demo_dies_is_no_failure(place: Place) -> None:
    config = {"api": "http://127.0.0.1:1", "token": "none", "demo_lock": str(place.root / "let-go.lock")}
    write_secret(place.root / "run" / "demo.json", json.dumps(config))

    done = place.restart("v1.0.0")

    assert done.returncode == 0, done.stderr
    time.sleep(0.5)
    assert place.about()["version"] == "v1.0.0"


def test_it_leaves_soon_after_the_demo_is_gone(place: Place, tmp_path: Path) -> None:
    layout = Layout(data_dir=tmp_path)
    layout.make()
    held = lock.acquire(layout, says="here")
    config = {"api": "http://127.0.0.1:1", "token": "none", "demo_lock": str(layout.lock)}
    write_secret(place.root / "run" / "demo.json", json.dumps(config))
    place.restart("v1.0.0")
    process = service_process(place.root)
    assert process is not None
    time.sleep(3.5)
    assert lives(process), "it left although the demo lives"

    held.close()

    deadline = time.monotonic() + 5
    while lives(process):
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Api(BaseHTTPRequestHandler):
    received: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers["Authorization"], body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_it_reports_itself_with_the_token_from_its_file(place: Place, tmp_path: Path) -> None:
    Api.received.clear()
    server = HTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.serve_forever, daemon=True).start()
    demo_lock = tmp_path / "demo.lock"
    config = {"api": f"http://127.0.0.1:{server.server_port}", "token": "a-token", "demo_lock": str(demo_lock)}
    write_secret(place.root / "run" / "demo.json", json.dumps(config))
    held = demo_lock.open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        place.restart("v1.1.0")
        deadline = time.monotonic() + 5
        while not Api.received and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        server.shutdown()
        server.server_close()
        held.close()

    path, authorization, body = Api.received[0]
    assert path == "/v1/instance/demo-1/report"
    assert authorization == "Bearer a-token"
    assert json.loads(body) == {"version": "v1.1.0", "status": "running", "health": "healthy"}


def test_the_token_is_on_no_command_line_and_in_no_environment(place: Place) -> None:
    held = place.root / "run" / "service.lock"  # by the service itself
    config = {"api": "http://127.0.0.1:1", "token": "a-very-secret-token", "demo_lock": str(held)}
    write_secret(place.root / "run" / "demo.json", json.dumps(config))
    place.restart("v1.0.0")
    process = service_process(place.root)

    assert process is not None
    assert "a-very-secret-token" not in " ".join(process.cmdline())
    assert "a-very-secret-token" not in str(process.environ())
    assert (place.root / "run" / "demo.json").stat().st_mode & 0o777 == 0o600
    assert "a-very-secret-token" not in (place.root / "service.log").read_text()
