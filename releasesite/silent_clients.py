"""Have PostgreSQL end the session of a process that froze, or whose host is gone, and free the locks it holds.

The client's own deadlines (settings.py) end a session that the server's host has left; these are for the other way round.
PostgreSQL's defaults are no limit at all, and TCP's two hours: a claim that broke off would hold up all other workers'
claims for as long. They are set by statement and not in the connection's options, which PgBouncer refuses.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

# No transaction of ours computes for anything near that long between two statements.
IDLE_IN_TRANSACTION = "15s"
_LIMITS = {
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
}
_SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _LIMITS.items())


def connect() -> None:
    connection_created.connect(_limit)


def _limit(connection: BaseDatabaseWrapper, **_: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SET)
