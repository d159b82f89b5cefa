"""Stop the instance's old process, start this release's, and wait until it answers. Standard library only.

Runs in the release's folder with the RELEASE_* variables. Exits with 1, saying why, when the new process does not
answer with the right version. The process is a session of its own and writes to `$RELEASE_ROOT/service.log`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

ROOT = Path(os.environ["RELEASE_ROOT"])
PORT = int(os.environ["RELEASE_PORT"])
VERSION = os.environ["RELEASE_VERSION"]
LOG = ROOT / "service.log"
STOP_SECONDS = 3.0
PORT_SECONDS = 1.0
START_SECONDS = 8.0


def main() -> None:
    (ROOT / "run").mkdir(exist_ok=True)
    # Whoever holds this file's lock is the instance's process; the file says its pid.
    with (ROOT / "run" / "service.lock").open("a+") as lock:
        stop_old(lock)
        wait_for_port()
        started = time.monotonic()
        new = start_new(lock)
        wait_until_it_answers(new)
    print(f"{VERSION} answers on port {PORT}, pid {new.pid}, after {time.monotonic() - started:.2f} s")


def stop_old(lock: IO[str]) -> None:
    """Return with the lock held, so that no process of the instance lives."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if got_lock_within(lock, 0):
            return
        lock.seek(0)
        pid = int(lock.read() or "0")
        if pid:
            print(f"stopping pid {pid}")
            kill(pid, sign)
        if got_lock_within(lock, STOP_SECONDS):
            return
    sys.exit(f"the old process still holds {lock.name}")


def got_lock_within(lock: IO[str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def kill(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may go by itself
        os.kill(pid, sign)


def wait_for_port() -> None:
    """A dying process may let go of its lock an instant before its port. Taken by a stranger: the start will say so."""
    deadline = time.monotonic() + PORT_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", PORT))
            except OSError:
                time.sleep(0.01)
                continue
            return


def start_new(lock: IO[str]) -> subprocess.Popen[bytes]:
    """The new process inherits the held lock, and keeps it when this one ends."""
    with LOG.open("ab") as log:
        new = subprocess.Popen(
            [sys.executable, "server.py"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    lock.truncate(0)
    lock.write(str(new.pid))
    lock.flush()
    return new


def wait_until_it_answers(new: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if new.poll() is not None:
            fail(f"{VERSION} ended at once with exit status {new.returncode}")
        answer = ask()
        if answer.get("pid") == new.pid:
            if answer["version"] != VERSION:
                new.kill()
                fail(f"the package holds {answer['version']}, not {VERSION}")
            return
        time.sleep(0.02)
    new.kill()
    fail(f"{VERSION} did not answer on port {PORT} within {START_SECONDS:g} s")


def ask() -> dict[str, object]:
    """What the process on our port tells of itself; empty when there is none, or another one that isn't ours."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=1)
    try:
        connection.request("GET", "/")
        answer = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {}


def fail(why: str) -> None:
    print("\n".join(LOG.read_text(errors="replace").splitlines()[-8:]), file=sys.stderr)
    sys.exit(f"{why}; the lines above are the end of {LOG}")


if __name__ == "__main__":
    main()
