"""What the database raises when it does not take something now and may take it later."""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError

# InternalError: PostgreSQL has ended our session, which was silent in mid-transaction (releasesite/silent_clients.py).
AWAY = (OperationalError, InterfaceError, InternalError)
