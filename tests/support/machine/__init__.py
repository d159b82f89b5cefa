"""A Debian machine of a test's own, made of this one: systemd as its first process, its own accounts, files, ports and network.

What is installed here is installed there; what people and programs have written here is not. Nothing that is done there stays,
and its network is loopback alone. It takes root and the right to make namespaces.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

import psutil
import pytest

from tests.support.worker import wait_for

HERE = Path(__file__).parent
NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc")
# What boot.sh needs most, and a container may refuse even to root.
TRIAL = """mount --make-rprivate / && mkdir -p "$1/trial" && mount -t tmpfs tmpfs "$1/trial"
cd "$1/trial" && mkdir root upper work
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/trial/upper,workdir=$1/trial/work" root && mount -t proc proc root/proc"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    def __init__(self, first: int, *, has_systemd: bool) -> None:
        """first: its first process, by its number here."""
        self._within = ("nsenter", f"--target={first}", *NAMESPACES, "--root", "--wd=/")
        self.root = Path(f"/proc/{first}/root")
        self.has_systemd = has_systemd

    def run(
        self, script: str, *, user: str = "root", stdin: str = "", seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Given to that user's login shell as it stands, without a terminal. Exit status 124: it was not done in time."""
        argv = (*self._within, "env", "-i", f"PATH={PATH}", "runuser", "-l", user, "-c", script)
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=err, text=True)
            try:
                process.communicate(stdin, timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()  # What it has started ends with the machine.
            status = 124 if process.wait() == -signal.SIGKILL else process.returncode
            out.seek(0), err.seek(0)
            return subprocess.CompletedProcess(argv, status, out.read(), err.read())

    def do(self, script: str, *, user: str = "root", stdin: str = "", seconds: float = 120) -> str:
        """Its stdout. Whatever fails in it fails the test, with all that was said."""
        done = self.run(f"set -e\n{script}", user=user, stdin=stdin, seconds=seconds)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def journal(self) -> str:
        """What our services have said lately."""
        ask = (
            "systemctl --no-pager --failed; journalctl --no-pager --lines 60 --unit 'release-*'"
            if self.has_systemd
            else "tail -n 60 /var/log/release-*.log"
        )
        return self.run(ask).stdout

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """path: in it; no absolute link may be on the way, it would lead out."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


@contextmanager
def machine(folder: Path, *, may_have_systemd: bool = True) -> Iterator[Machine]:
    """Where there are no control groups to write, which systemd needs, a `systemctl` of our own stands in for it."""
    if os.geteuid() != 0:
        pytest.skip("a machine of a test's own takes root")
    tried = subprocess.run(
        ("unshare", *NAMESPACES, "--fork", "sh", "-ec", TRIAL, "sh", folder), capture_output=True, text=True
    )
    if tried.returncode != 0:
        pytest.skip(f"a machine of a test's own takes namespaces and an overlay: {tried.stderr.strip()}")
    with _control_group() as group:
        has_systemd = may_have_systemd and group is not None
        kind = "systemd" if has_systemd else "stand-in"
        boot = ("sh", str(HERE / "boot.sh"), str(folder), kind, str(HERE / "systemctl"), _python())
        join = f"echo $$ > {shlex.quote(str(group))}/cgroup.procs && " if has_systemd else ""
        namespaces = shlex.join(("unshare", *NAMESPACES, "--fork", "--kill-child=KILL", *boot))
        log = folder / "machine.log"
        with log.open("w") as stream:
            process = subprocess.Popen(("sh", "-c", f"{join}exec {namespaces}"), stdout=stream, stderr=stream)
        try:
            wait_for(lambda: _has_begun(process, folder / "up", log), what="machine", log=log)
            (first,) = psutil.Process(process.pid).children()
            made = Machine(first.pid, has_systemd=has_systemd)
            if has_systemd:
                wait_for(lambda: made.run("systemctl is-active basic.target").returncode == 0, what="systemd", log=log)
            yield made
        finally:
            process.kill()
            process.wait()


def _python() -> str:
    """'' for Debian's own, which will do where it is of our version: what is built here fits it. Else the folder of ours."""
    ask = "import venv, ensurepip, sys; print(*sys.version_info[:2])"
    theirs = subprocess.run(("sh", "-c", f'/usr/bin/python3 -c "{ask}"'), capture_output=True, text=True)
    return "" if theirs.stdout.split() == [str(number) for number in sys.version_info[:2]] else sys.base_prefix


def _has_begun(process: subprocess.Popen[bytes], up: Path, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return up.exists()


@contextmanager
def _control_group() -> Iterator[Path | None]:
    """A new one, as systemd wants them; None where none can be made."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    top = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    group = top and top / f"release-machine-{os.getpid()}"
    try:
        if group:
            group.mkdir()
    except OSError:
        group = None
    try:
        yield group
    finally:
        if group:
            _remove(group)


def _remove(group: Path) -> None:
    """With those in it, once their processes are gone."""

    def is_removed() -> bool:
        for each in [*sorted(group.rglob("*/"), reverse=True), group]:
            with suppress(OSError):
                each.rmdir()
        return not group.exists()

    wait_for(is_removed, what="end of the machine's processes", log=None)
