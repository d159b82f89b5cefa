"""The embedded PostgreSQL: made, started and stopped by whichever process needs it first and leaves it last.

Layout of its folder:

    data/        the cluster (PGDATA)
    run/         the Unix socket; mode 0700, the one way in, so that `trust` lets in its own account and root alone
    server.log   what PostgreSQL has to say
    users.lock   shared lock of every process that uses the server; exclusive for whoever stops it
    start.lock   exclusive lock of whoever makes or starts it

A user takes its shared lock before it looks for the server, so a server is never stopped under one.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from releasesite.embedded_postgres.account import Account, account_for
from releasesite.embedded_postgres.errors import EmbeddedServerError
from releasesite.embedded_postgres.locks import exclusively, exclusively_if_free, hold_shared
from releasesite.embedded_postgres.programs import programs
from releasesite.embedded_postgres.short_path import LONGEST_SOCKET_PATH, short_link
from releasesite.embedded_postgres.stale import remove_stale_marks

DATABASE, SUPERUSER, PORT = "release", "postgres", 5432
START_SECONDS = 60
STOP_SECONDS = 10
CONFIGURATION = {
    "listen_addresses": "''",
    "unix_socket_directories": "'../run'",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "300",
    "shared_buffers": "128MB",
    # Statements and key values may hold secrets, such as a package URL's query: the log shows neither.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_timezone": "'UTC'",
    "timezone": "'UTC'",
}


@functools.cache
def server_in(folder: Path) -> EmbeddedServer:
    """The one object of this process for that folder."""
    return EmbeddedServer(folder)


class EmbeddedServer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._users_lock = folder / "users.lock"
        self._held: int | None = None
        self._mutex = threading.RLock()
        os.register_at_fork(after_in_child=self._renew_mutex)

    @property
    def socket_folder(self) -> Path:
        """Where clients find the socket; a short link when the real path is too long for a socket address."""
        folder = self.folder / "run"
        if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH:
            return folder
        return short_link(folder)

    def use(self) -> Path:
        """Makes and starts the server where needed, keeps it up while this process lives, and gives its socket's folder."""
        with self._mutex:
            self._hold()
            if not self._answers():
                self._start()
        return self.socket_folder

    def create(self, settings: Mapping[str, str], *, durable: bool = True) -> None:
        """Makes the cluster, with further lines for postgresql.conf; does nothing when there is one."""
        with self._mutex:
            self._hold()
            with exclusively(self.folder / "start.lock"):
                self._make_cluster(self._account(), settings, durable=durable)

    def release(self, *, wait: bool = False) -> None:
        """Stops using the server, and stops it when nobody else, not even a forked child, uses it.

        wait: until a guardian that came first has stopped it, some seconds at the most.
        """
        with self._mutex:
            if self._held is not None:
                os.close(self._held)
                self._held = None
                self._stop_if_alone()
            deadline = time.monotonic() + STOP_SECONDS
            while wait and self._accepts() and time.monotonic() < deadline:
                time.sleep(0.02)

    def _stop_if_alone(self) -> None:
        if not self._users_lock.exists():
            return
        with exclusively_if_free(self._users_lock) as alone:
            if alone:
                self._stop()

    def _hold(self) -> None:
        if self._held is not None:
            return
        try:
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._held = hold_shared(self._users_lock)
        except OSError as error:
            raise EmbeddedServerError(
                f"The embedded database's folder cannot be used ({error}): run as the account that made it, "
                "or set RELEASE_DATA_DIR or DATABASE_URL."
            ) from error
        atexit.register(self.release)

    def _answers(self) -> bool:
        return self._is_ready() and self._accepts()

    def _is_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self.socket_folder / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return True

    def _start(self) -> None:
        with exclusively(self.folder / "start.lock"):
            if self._answers():
                return
            account = self._account()
            self._make_cluster(account, {}, durable=True)
            self._launch(account)
            self._leave_guardian(account)

    def _account(self) -> Account:
        account = account_for(self.data)
        account.must_reach(programs() / "postgres", self.data)
        return account

    def _make_cluster(self, account: Account, settings: Mapping[str, str], *, durable: bool) -> None:
        """Under another name first: a process killed in mid-way leaves nothing that looks like a cluster."""
        if self.data.exists():
            return
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in (unfinished, self.folder / "run"):
            folder.mkdir(mode=0o700, exist_ok=True)
            account.give(folder)
        self._initdb(account, unfinished, durable=durable)
        lines = "".join(f"{name} = {value}\n" for name, value in {**CONFIGURATION, **settings}.items())
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write(lines)
        self._create_database(account, unfinished)
        unfinished.rename(self.data)

    def _initdb(self, account: Account, cluster: Path, *, durable: bool) -> None:
        done = account.run(
            str(programs() / "initdb"),
            f"--pgdata={cluster}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            *(() if durable else ("--no-sync",)),
            cwd=cluster,
        )
        if done.returncode != 0:
            raise EmbeddedServerError(f"Making the embedded database in {self.folder} failed:\n{done.stdout.strip()}")

    def _create_database(self, account: Account, cluster: Path) -> None:
        """Without a server, so that nobody can find one that lacks the database."""
        single = (str(programs() / "postgres"), "--single", "-D", str(cluster), "postgres")
        done = account.run(*single, cwd=cluster, text_in=f"CREATE DATABASE {DATABASE};\n")
        if done.returncode != 0 or "ERROR" in done.stdout:
            raise EmbeddedServerError(f"Making the database {DATABASE} in {self.folder} failed:\n{done.stdout.strip()}")

    def _launch(self, account: Account) -> None:
        log = self.folder / "server.log"
        if not log.exists():
            log.touch(mode=0o600)
            account.give(log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if remove_stale_marks(self.data, self.folder / "run"):
                self._pg_ctl_start(account, log)
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"The embedded database is not ready after {START_SECONDS} s: see {log}.")
            time.sleep(0.02)

    def _pg_ctl_start(self, account: Account, log: Path) -> None:
        """Relative paths, since pg_ctl splices them into shell text."""
        argv = (
            str(programs() / "pg_ctl"),
            "start",
            "-w",
            "-s",
            "-t",
            str(START_SECONDS),
            "-D",
            ".",
            "-l",
            "../server.log",
        )
        done = account.run(*argv, cwd=self.data)
        if done.returncode != 0:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise EmbeddedServerError(f"The embedded database in {self.folder} does not start:\n{last or done.stdout}")

    def _leave_guardian(self, account: Account) -> None:
        """A process that waits until the last user is gone, killed ones too, and stops the server then.

        Whoever holds the exclusive lock has no users beside it, so a guardian too many or too old does no harm.
        """
        if shutil.which("flock") is None:
            return
        # The lock file moves to descriptor 3, because a background job of sh has /dev/null as its input.
        script = 'exec 3<&0; (flock --exclusive 3 && exec "$0" stop -s -m fast -D .) &'
        with self._users_lock.open("rb") as lock:
            subprocess.Popen(
                ("sh", "-c", script, str(programs() / "pg_ctl")),
                cwd=self.data,
                stdin=lock,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                user=None if account.is_this_process else account.uid,
                group=None if account.is_this_process else account.gid,
                extra_groups=None if account.is_this_process else (),
            ).wait()

    def _stop(self) -> None:
        if not self.data.exists() or not self._is_ready():
            return
        account_for(self.data).run(
            str(programs() / "pg_ctl"), "stop", "-w", "-s", "-m", "fast", "-D", ".", cwd=self.data
        )

    def _renew_mutex(self) -> None:
        self._mutex = threading.RLock()
