"""Django's PostgreSQL backend, over the server under RELEASE_DATA_DIR, which each connection makes sure of first."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base

from releasesite.embedded_postgres.client import DatabaseClient
from releasesite.embedded_postgres.errors import EmbeddedServerError
from releasesite.embedded_postgres.programs import require
from releasesite.embedded_postgres.server import PORT, SUPERUSER, server_in

# The server that this process has, whatever the settings say later.
data_dir = settings.DATA_DIR
server = server_in(data_dir / "postgres")


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        """Ends the process where there is none, and nobody asks for one; until then nothing needs it."""
        require(data_dir)
        try:
            host = server.use()
        except EmbeddedServerError as error:
            raise self.Database.OperationalError(str(error)) from error
        return {**super().get_connection_params(), "host": str(host), "port": PORT, "user": SUPERUSER}
