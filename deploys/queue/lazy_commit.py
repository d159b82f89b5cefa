"""Commits that need not wait for the disk: the next one that waits takes them along, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

# For a single statement outside of any transaction: what it joins with this commits so, without three statements around it.
LAZILY = "(SELECT set_config('synchronous_commit', 'off', true)) AS lazily"


@contextmanager
def lazy_commit() -> Iterator[None]:
    """A transaction for what may be lost when PostgreSQL itself crashes, and then only together with all that came after.

    Others see it as soon as it commits, as ever.
    """
    with transaction.atomic():
        commit_lazily()
        yield


def commit_lazily() -> None:
    """The same for a transaction that has begun."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
