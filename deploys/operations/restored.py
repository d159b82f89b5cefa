"""Whether this database was restored from a dump, and nobody has said yet that work may go on in it.

A row says the object id of its own table and the transaction that wrote it. A restore makes the table anew and writes the row
again, by another transaction, so that neither fits any more. A copy of the files, a failover and `pg_upgrade` keep both.

Until somebody says so nothing is claimed, sent or deleted: a dump shows as in progress what has ended long ago, and going on
with it would take nodes back to older versions.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection, transaction

IS_RESTORED = (
    "EXISTS (SELECT FROM deploys_databaseseal s"
    " WHERE s.table_oid <> 'deploys_databaseseal'::regclass::oid::bigint OR s.xid <> s.xmin::text)"
)
# The transaction's own number, not that of a part of it: so never within another one.
_SEAL = """
INSERT INTO deploys_databaseseal (table_oid, xid)
VALUES ('deploys_databaseseal'::regclass::oid::bigint, pg_current_xact_id()::xid::text)
"""


def is_restored() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {IS_RESTORED}")
        return bool(cursor.fetchone()[0])


def accept() -> None:
    """Work goes on, on every host."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("DELETE FROM deploys_databaseseal")
        cursor.execute(_SEAL)


def unless_restored(run: Callable[[], object]) -> Callable[[], object]:
    """What a worker host does by itself; it is left undone in a restored database."""
    return lambda: None if is_restored() else run()
