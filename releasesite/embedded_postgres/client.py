"""`manage.py dbshell` over the embedded server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

from releasesite.embedded_postgres.programs import programs


class DatabaseClient(client.DatabaseClient):
    def runshell(self, parameters: Iterable[str]) -> None:
        params: dict[str, Any] = self.connection.get_connection_params()
        type(self).executable_name = str(programs() / "psql")
        self.connection.settings_dict.update(HOST=params["host"], PORT=params["port"], USER=params["user"])
        super().runshell(list(parameters))
