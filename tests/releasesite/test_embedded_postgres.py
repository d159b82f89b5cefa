from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil
import pytest

from releasesite.embedded_postgres import account
from releasesite.embedded_postgres.folder_access import let_search
from releasesite.embedded_postgres.server import PORT, EmbeddedServer
from releasesite.embedded_postgres.short_path import LONGEST_SOCKET_PATH, short_link

CHECKOUT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 20
SETTINGS = {"fsync": "off"}


class User:
    def __init__(self, folder: Path, mode: str = "stay") -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.releasesite.postgres_user", str(folder), mode),
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> list[str]:
        return self._stream(self._process.stdout).readline().split()

    def leave(self) -> None:
        self._stream(self._process.stdin).close()
        assert self._process.wait(STOP_SECONDS) == 0

    def wait(self) -> None:
        """For its own end, not for that of a child which shares its output."""
        assert self._process.wait(STOP_SECONDS) == 0

    def end_input(self) -> None:
        self._stream(self._process.stdin).close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _stream(self, stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream


@pytest.fixture
def folder() -> Iterator[Path]:
    """A cluster's folder; not under tmp_path, whose parents are private. Its server is down at the end."""
    home = Path(tempfile.mkdtemp(prefix="release-embedded-"))
    home.chmod(0o755)
    postgres = home / "postgres"
    server = EmbeddedServer(postgres)
    server.create(SETTINGS, durable=False)
    server.release()
    yield postgres
    stopped = has_stopped(postgres)
    shutil.rmtree(home)
    assert stopped, "a server was left behind"


def postmaster(folder: Path) -> int | None:
    with suppress(OSError, ValueError, psutil.Error):
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        if psutil.Process(pid).name() == "postgres" and is_running(pid):
            return pid
    return None


def is_running(pid: int) -> bool:
    """Not as a zombie, which a container's first process may never collect."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def has_stopped(folder: Path) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while postmaster(folder) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_the_last_one_out_stops_the_server_and_the_next_one_in_finds_the_data(folder: Path) -> None:
    first, second = User(folder), User(folder)
    assert {first.said()[0], second.said()[0]} == {"ready"}

    first.leave()
    assert postmaster(folder) is not None
    second.leave()
    assert has_stopped(folder)

    third = User(folder)
    assert third.said() == ["ready", "3"]
    third.leave()


def test_many_at_once_start_one_server_between_them(folder: Path) -> None:
    shutil.rmtree(folder / "data")
    users = [User(folder) for _ in range(6)]

    assert sorted(user.said()[1] for user in users) == ["1", "2", "3", "4", "5", "6"]

    for user in users:
        user.leave()


def test_a_killed_user_takes_nothing_from_the_others(folder: Path) -> None:
    killed, other = User(folder), User(folder)
    killed.said(), other.said()
    server = postmaster(folder)

    killed.kill()
    third = User(folder)

    assert third.said()[0] == "ready"
    third.leave()
    assert postmaster(folder) == server
    other.leave()


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs util-linux' flock")
def test_the_server_stops_when_its_only_user_is_killed(folder: Path) -> None:
    user = User(folder)
    user.said()

    user.kill()

    assert has_stopped(folder)


def test_a_forked_child_keeps_the_server_for_itself_and_its_exit_hooks_stop_it(folder: Path) -> None:
    parent = User(folder, "fork")
    child = int(parent.said()[2])
    parent.wait()

    assert is_running(child)
    time.sleep(0.3)
    assert postmaster(folder) is not None
    parent.end_input()
    assert parent.said() == ["2"]
    assert has_stopped(folder)


def test_a_forked_childs_exit_does_not_stop_the_server_under_its_parent(folder: Path) -> None:
    server = EmbeddedServer(folder)
    server.use()
    pid = os.fork()
    if pid == 0:
        server.release()
        os._exit(0)
    os.waitpid(pid, 0)

    assert server._answers()
    server.release(wait=True)


def test_a_killed_server_is_started_again_for_the_next_connection(folder: Path) -> None:
    user = User(folder)
    user.said()
    pid = postmaster(folder)
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    other = User(folder)

    assert other.said() == ["ready", "2"]
    user.leave()
    other.leave()


def test_a_pid_file_that_names_another_process_does_not_keep_the_server_down(folder: Path) -> None:
    user = User(folder)
    user.said()
    pid = postmaster(folder)
    assert pid is not None
    pid_file = folder / "data" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    os.kill(pid, signal.SIGKILL)
    while is_running(pid):
        time.sleep(0.02)
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    other = User(folder)

    assert other.said()[0] == "ready"
    user.leave()
    other.leave()


def test_a_creation_killed_in_mid_way_leaves_nothing_in_the_way(folder: Path) -> None:
    (folder / "data").rename(folder / "data.unfinished")
    (folder / "data.unfinished" / "PG_VERSION").unlink()

    user = User(folder)

    assert user.said() == ["ready", "1"]
    user.leave()


def test_it_is_reached_by_its_socket_alone_and_by_its_own_account_alone(folder: Path) -> None:
    user = User(folder)
    user.said()
    pid = postmaster(folder)
    assert pid is not None

    listening = [each for each in psutil.Process(pid).net_connections() if each.status == psutil.CONN_LISTEN]

    assert listening == []
    assert psutil.Process(pid).uids().effective != 0
    assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "run" / f".s.PGSQL.{PORT}").stat().st_mode) == 0o700
    user.leave()


def test_a_path_too_long_for_a_socket_is_reached_by_a_short_link(folder: Path) -> None:
    deep = folder.parent.joinpath(*["a-rather-long-name-of-a-folder"] * 4)
    deep.mkdir(parents=True)
    server = EmbeddedServer(deep)
    server.create(SETTINGS, durable=False)

    shown = server.use()

    assert len(str(shown)) < LONGEST_SOCKET_PATH < len(str(deep))
    assert shown.readlink() == deep / "run"
    server.release(wait=True)
    shown.unlink()


def test_a_short_link_that_somebody_else_laid_is_refused(folder: Path) -> None:
    deep = folder / "deep"
    link = short_link(deep)
    try:
        link.unlink()
        link.symlink_to("/elsewhere")
        with pytest.raises(Exception, match="not ours"):
            short_link(deep)
    finally:
        link.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another account")
def test_root_lets_the_servers_account_through_private_folders_and_nobody_else(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "file").write_text("here")
    (private / "file").chmod(0o644)
    server_account = account.account_for(tmp_path / "none")

    let_search(private / "file", uid=server_account.uid)

    assert server_account.run("cat", str(private / "file"), cwd=Path("/")).stdout == "here"
    assert server_account.run("ls", str(private), cwd=Path("/")).returncode != 0
    nobody = account.Account(uid=65_534, gid=65_534)
    assert nobody.run("cat", str(private / "file"), cwd=Path("/")).returncode != 0
