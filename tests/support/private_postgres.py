"""A PostgreSQL of one test's own, to stop and start at will."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

from releasesite.embedded_postgres.server import DATABASE, PORT, SUPERUSER, EmbeddedServer
from tests.settings import FAST


class PrivatePostgres:
    """network: who else may connect, over TCP at `address`, such as 198.18.0.0/24; else there is the socket alone."""

    def __init__(self, folder: Path, *, address: str = "", network: str = "") -> None:
        self._server = EmbeddedServer(folder)
        self._address = address
        self._server.create({**FAST, "listen_addresses": f"'{address}'"}, durable=False)
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

    def migrate(self) -> None:
        manage = str(Path(settings.BASE_DIR) / "manage.py")
        environment = {**os.environ, "DATABASE_URL": self.url}
        subprocess.run([sys.executable, manage, "migrate", "-v", "0"], env=environment, check=True)


@contextmanager
def private_postgres(*, address: str = "", network: str = "") -> Iterator[PrivatePostgres]:
    """A migrated database on a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    folder.chmod(0o755)  # The server's account has to get in.
    postgres = PrivatePostgres(folder / "postgres", address=address, network=network)
    try:
        postgres.migrate()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
