"""The sequence of fencing tokens, when a node has seen higher ones than this database has given out."""

from __future__ import annotations

from django.db import connection, transaction

from deploys.models import Target
from deploys.states import TargetStatus

# No fleet claims so often. A node that names a higher token is broken or lies, and must not use up everyone's sequence.
HIGHEST = 10**15
# Claims go on while the sequence is moved. It is moved so far ahead that they can't pass the new value meanwhile.
MARGIN = 1000

_RAISE = f"SELECT setval('deploys_fence', %s + {MARGIN}) FROM deploys_fence WHERE last_value < %s"  # noqa: S608


def rise_above(newest: int) -> None:
    """Go on above this token if the sequence is behind it: then the database was restored or made anew."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('deploys.fences'))")
        cursor.execute(_RAISE, [newest, newest])


def is_held(target_id: int, fence: int) -> bool:
    """Whether the database still knows this claim as the target's own. If not, somebody holds a newer one."""
    return Target.objects.filter(pk=target_id, fence=fence, status=TargetStatus.IN_PROGRESS).exists()
