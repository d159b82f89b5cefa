"""A PostgreSQL of one test's own, to stop, start, starve and upgrade at will."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import dj_database_url
from django.conf import settings
from django.db import connections

from releasesite.embedded_postgres.server import DATABASE, PORT, SUPERUSER, EmbeddedServer
from tests.settings import FAST


class PrivatePostgres:
    """network: who else may connect, over TCP at `address`, such as 198.18.0.0/24; else there is the socket alone.

    configuration: lines of postgresql.conf that go before the tests' own.
    """

    def __init__(
        self, folder: Path, *, address: str = "", network: str = "", configuration: Mapping[str, str] | None = None
    ) -> None:
        self._server = EmbeddedServer(folder)
        self._address = address
        ours = {**FAST, "listen_addresses": f"'{address}'", **(configuration or {})}
        self._server.create(ours, durable=False)
        if network:
            with (self._server.data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {network} trust\n")
        self.start()

    @property
    def url(self) -> str:
        if self._address:
            return f"postgres://{SUPERUSER}@{self._address}:{PORT}/{DATABASE}"
        return f"postgres://{SUPERUSER}@{quote(str(self._server.socket_folder), safe='')}:{PORT}/{DATABASE}"

    def start(self) -> None:
        self._server.use()

    def stop(self) -> None:
        """As `pg_ctl stop -m fast`: all connections are cut."""
        self._server.release(wait=True)

    def migrate(self, *to: str) -> None:
        """to: an app's label and a migration's name; without them, to where the code is."""
        manage = str(Path(settings.BASE_DIR) / "manage.py")
        environment = {**os.environ, "DATABASE_URL": self.url}
        subprocess.run([sys.executable, manage, "migrate", "-v", "0", *to], env=environment, check=True)


@contextmanager
def private_postgres(*, address: str = "", network: str = "", is_migrated: bool = True) -> Iterator[PrivatePostgres]:
    """A database on a server of its own."""
    with folder_for_postgres() as folder:
        postgres = PrivatePostgres(folder / "postgres", address=address, network=network)
        try:
            if is_migrated:
                postgres.migrate()
            yield postgres
        finally:
            postgres.stop()


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    folder.chmod(0o755)  # The server's account has to get in.
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def default_database(url: str) -> Iterator[None]:
    """The database of this process's models is another one for a while."""
    ours = dict(connections.settings["default"])
    usual = connections["default"]
    connections.settings["default"].update(dj_database_url.parse(url))
    del connections["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"].clear()
        connections.settings["default"].update(ours)
        connections["default"] = usual
