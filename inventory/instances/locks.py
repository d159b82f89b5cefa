"""Instances are locked in one order, by id, so that two transactions wait for each other instead of deadlocking."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection


def lock_instances(pks: Iterable[int]) -> None:
    """Lock these instances until the transaction ends.

    What they are, and what is done to them, is read afterwards: a statement that waits for a lock sees the other
    tables as they were before it waited.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM inventory_instance WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [sorted(set(pks))]
        )
