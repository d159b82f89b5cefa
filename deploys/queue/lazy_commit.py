"""Commits that need not wait for the disk: the next one that waits takes them along, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, transaction

# For a single statement outside of any transaction: what it joins with this commits so, without three statements around it.
LAZILY = "(SELECT set_config('synchronous_commit', 'off', true)) AS lazily"


@contextmanager
def lazy_commit(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """A transaction for what may be lost when PostgreSQL itself crashes, and then only together with all that came after.

    Others see it as soon as it commits, as ever.
    """
    with transaction.atomic(using=using):
        commit_lazily(using=using)
        yield


def commit_lazily(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """The same for a transaction that has begun."""
    with connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
