"""What delays everything though the database answers: it takes no writes, has too few connections, or is slow.

Workers tell what they meet on their row, for web can't see it: it may have its own connections all the while.
"""

from __future__ import annotations

from enum import StrEnum

from django.db import connection
from django.db.models.functions import Now

from deploys.models import Worker
from inventory.database.outage import is_short_of_connections

TOLD_WITHIN_SECONDS = 60


class DatabaseTrouble(StrEnum):
    READ_ONLY = "read_only"
    CONNECTIONS = "connections"
    SLOW = "slow"


# "connections" before "slow": who waits for a connection is slow for that.
_TROUBLE = """
SELECT current_setting('transaction_read_only') = 'on', (
    SELECT min(trouble) FROM deploys_worker
    WHERE trouble <> '' AND trouble_at > clock_timestamp() - make_interval(secs => %s))
"""


def database_trouble() -> DatabaseTrouble | None:
    """None while all is well. Raises the database's own errors."""
    with connection.cursor() as cursor:
        cursor.execute(_TROUBLE, [TOLD_WITHIN_SECONDS])
        is_read_only, told = cursor.fetchone()
    if is_read_only:
        return DatabaseTrouble.READ_ONLY
    return DatabaseTrouble(told) if told else None


def tell_if_short(worker_name: str) -> None:
    """For a process that has a connection again, and was refused one before."""
    if is_short_of_connections():
        tell_trouble(worker_name, Worker.Trouble.CONNECTIONS)


def tell_trouble(worker_name: str, trouble: str) -> None:
    """trouble: one of Worker.Trouble."""
    Worker.objects.filter(name=worker_name).update(trouble=trouble, trouble_at=Now())
