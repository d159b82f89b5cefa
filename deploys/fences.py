"""The sequence of fencing tokens, when a node has seen higher ones than this database has given out."""

from __future__ import annotations

from django.db import connection

_RAISE = """
SELECT setval('deploys_fence', %s) FROM deploys_fence WHERE last_value < %s
"""


def raise_above(newest: int) -> bool:
    """Go on above this token if the sequence is behind it: then the database was restored or made anew.

    False when it is not: then the refused claim is truly an old one, and somebody holds a newer.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, [newest, newest])
        return cursor.fetchone() is not None
