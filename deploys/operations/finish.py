"""Store an operation's outcome on its row in the transaction in which its last target ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from django.db import connection, transaction

from deploys.events import outbox
from deploys.events.outbox import Event
from deploys.measures import OPERATIONS
from deploys.models import Operation
from deploys.operations.journal import log_ended
from deploys.operations.progress import Progress
from deploys.operations.queries import finished_payload
from deploys.operations.sql import unfinished
from deploys.states import OperationStatus
from deploys.webhook_models import EventType

# The one active target of an unfinished operation is found through the partial index target_claimable. Only of those that
# have none are the targets counted.
_ENDED = f"""
WITH ended AS MATERIALIZED (
    SELECT o.id, o.kind FROM deploys_operation o
    WHERE o.id = ANY(%s) AND o.finished_at IS NULL AND NOT EXISTS (
        SELECT FROM deploys_target t
        WHERE t.operation_id = o.id AND t.kind = o.kind AND {unfinished("t")})
)
SELECT ended.id, ended.kind, t.status, count(*)
FROM ended JOIN deploys_target t ON t.operation_id = ended.id AND t.is_latest
GROUP BY ended.id, ended.kind, t.status
"""  # noqa: S608 - only constants are spliced in

_FINALIZE = """
UPDATE deploys_operation SET status = %s, completed = %s, failed = %s, cancelled = %s, superseded = %s,
    finished_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = %s
"""


def finalize_finished(operation_ids: Iterable[int]) -> None:
    """Write status and counts of those of these operations that have no unfinished target.

    The caller holds the rows' locks: otherwise two last targets, each unseen by the other, would leave it open.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, [sorted(operation_ids)])
        counts: dict[tuple[int, str], dict[str, int]] = {}
        for operation_id, kind, status, count in cursor.fetchall():
            counts.setdefault((operation_id, kind), {})[status] = count
        for (operation_id, kind), by_status in counts.items():
            progress = Progress.of(by_status)
            cursor.execute(_FINALIZE, [*_finalized(progress), operation_id])
            transaction.on_commit(partial(OPERATIONS.add, kind, progress.status), robust=True)
        ended = [operation_id for operation_id, _kind in counts]
    if ended:
        transaction.on_commit(partial(log_ended, ended), robust=True)
    if ended and outbox.is_wanted(EventType.OPERATION_FINISHED):
        _tell(ended)


def _finalized(progress: Progress) -> tuple[OperationStatus, int, int, int, int]:
    return progress.status, progress.completed, progress.failed, progress.stopped, progress.superseded


def _tell(ended: Sequence[int]) -> None:
    operations = Operation.objects.filter(pk__in=ended).select_related("service", "package").order_by("pk")
    outbox.emit(EventType.OPERATION_FINISHED, [_event(operation) for operation in operations])


def _event(operation: Operation) -> Event:
    return Event(service_id=operation.service_id, subject=str(operation), data=lambda: finished_payload(operation))
