"""`manage.py dbshell` over the embedded server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import client

from releasesite.embedded_postgres.programs import PROGRAMS


class DatabaseClient(client.DatabaseClient):
    executable_name = str(PROGRAMS / "psql")

    def runshell(self, parameters: Iterable[str]) -> None:
        params: dict[str, Any] = self.connection.get_connection_params()
        self.connection.settings_dict.update(HOST=params["host"], PORT=params["port"], USER=params["user"])
        super().runshell(list(parameters))
