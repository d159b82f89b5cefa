"""Waiting for PostgreSQL notifications on a connection of its own."""

from __future__ import annotations

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper


class Listener:
    """LISTENs on one channel. Connects when first used; after an error, `close` it and use it again.

    A lost connection raises what is an outage by inventory/database/outage.py. A notification that comes between two
    waits is kept; one sent while there is no connection is lost, so a caller also looks at the table now and then.
    """

    def __init__(self, channel: str, *, alias: str = DEFAULT_DB_ALIAS) -> None:
        self.channel = channel
        self._alias = alias
        self._wrapper: BaseDatabaseWrapper | None = None

    def listen(self) -> None:
        """Returns once notifications are being collected: what is committed from here on is heard."""
        if self._wrapper is not None:
            return
        wrapper = connections[self._alias].copy()
        with wrapper.cursor() as cursor:
            cursor.execute(f'LISTEN "{self.channel}"')
        self._wrapper = wrapper

    def wait(self, *, timeout_seconds: float) -> bool:
        """Whether a notification came within the time."""
        self.listen()
        assert self._wrapper is not None
        raw: psycopg.Connection[object] = self._wrapper.connection
        try:
            return bool(list(raw.notifies(timeout=timeout_seconds, stop_after=1)))
        except OSError as error:  # of the socket
            raise OperationalError(str(error)) from error

    def close(self) -> None:
        wrapper, self._wrapper = self._wrapper, None
        if wrapper is None:
            return
        try:
            wrapper.close()
        except (Error, psycopg.Error, OSError):
            pass
