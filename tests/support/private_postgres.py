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
    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedServer(folder)
        self._server.create(FAST, durable=False)
        self.start()

    @property
    def url(self) -> str:
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
def private_postgres() -> Iterator[PrivatePostgres]:
    """A migrated database on a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    folder.chmod(0o755)  # The server's account has to get in.
    postgres = PrivatePostgres(folder / "postgres")
    try:
        postgres.migrate()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
