"""Have PostgreSQL end the session of a process that froze, or whose host is gone, and free the locks it holds.

The client's own deadlines (settings.py) end a session that the server's host has left; these are for the other way round.
PostgreSQL's defaults are no limit at all, and TCP's two hours: a claim that broke off would hold up all other workers'
claims for as long.
"""

from __future__ import annotations

from inventory.database import sessions

_LIMITS = {
    # No transaction of ours is silent for anything near that long, but for an import's, which asks for more.
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
}


def connect() -> None:
    sessions.set_for_all(_LIMITS)
