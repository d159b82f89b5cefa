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


_SILENCE_LIMITS = {
    # No transaction of ours is silent for anything near that long, but for an import's, which asks for more.
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
}


def end_silent_ones() -> None:
    """Have PostgreSQL end the session of a process that froze, or whose host is gone, and free the locks it holds.

    The client's own deadlines (settings.py) end a session that the server's host has left; these are for the other way
    round. PostgreSQL's defaults are no limit at all, and TCP's two hours: a claim that broke off would hold up all other
    workers' claims for as long.
    """
    set_for_all(_SILENCE_LIMITS)
