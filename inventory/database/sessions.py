"""Parameters of PostgreSQL's that all sessions of this process have."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


def set_for_all(parameters: Mapping[str, str]) -> None:
    """For every connection made from now on. By statement: PgBouncer refuses them among the connection's options."""
    statement = "SELECT " + ", ".join(["set_config(%s, %s, false)"] * len(parameters))
    values = [word for pair in parameters.items() for word in pair]

    def apply(connection: BaseDatabaseWrapper, **_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)

    connection_created.connect(apply, weak=False)
