"""Wait for the end of an operation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from release_client.answers import Kind, Operation
from release_client.connection import Answer, Connection
from release_client.errors import NotKnown, Refused

OnChange = Callable[[Operation], None]

SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 3.0


def wait_for_end(
    connection: Connection, operation_id: str, kind: Kind, *, timeout: float | None, on_change: OnChange
) -> Operation:
    """As Client.wait."""
    ends_at = None if timeout is None else time.monotonic() + timeout
    etag, pause = None, SHORTEST_PAUSE
    while True:
        asked_at = time.monotonic()
        answer = _ask(connection, kind, operation_id, etag, ends_at)
        pause = min(pause * 1.3, LONGEST_PAUSE)
        if answer.status != 304:
            operation, etag, pause = cast(Operation, answer.body), answer.etag, SHORTEST_PAUSE
            on_change(operation)
            if operation["completed_at"] is not None:
                return operation
        # Of ten thousand instances an answer takes a while: the server gets as much rest as work.
        _sleep(max(pause, time.monotonic() - asked_at), ends_at, kind, operation_id)


def _ask(connection: Connection, kind: Kind, operation_id: str, etag: str | None, ends_at: float | None) -> Answer:
    headers = {"If-None-Match": etag} if etag else None
    patience = connection.patience
    if ends_at is not None:
        patience = min(patience, max(ends_at - time.monotonic(), 0.1))
    try:
        return connection.call("GET", kind, "status", operation_id, headers=headers, patience=patience)
    except (NotKnown, Refused) as error:
        raise NotKnown(
            f"How the {kind} {operation_id} ends is not known: it can't be asked any more.\n{error}"
        ) from error


def _sleep(pause: float, ends_at: float | None, kind: Kind, operation_id: str) -> None:
    if ends_at is not None and time.monotonic() + pause > ends_at:
        raise NotKnown(f"How the {kind} {operation_id} ends is not known yet: it was still going on when time ran out.")
    time.sleep(pause)
