"""Deleting old log lines and old operations, in small transactions, beside workers and beside another prune.

Log lines go oldest first, so that what is left of a log is its end. An operation goes whole, with its targets, in one
transaction. Nothing unfinished goes, nor any package: a version stays one set of bytes. StatusChange rows stay, with the
operation's name in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from deploys.models import LogLine, Operation
from deploys.operations.locks import lock_ended_operations
from deploys.operations.staged import IS_RECENTLY_STAGED

LINES_AT_ONCE = 5000
OPERATIONS_AT_ONCE = 100
TARGETS_AT_ONCE = 5000

_WITH_OLD_LINES = """
SELECT o.id FROM deploys_operation o
CROSS JOIN LATERAL (SELECT FROM deploys_logline l WHERE l.operation_id = o.id LIMIT 1) line
WHERE o.id > %s AND o.finished_at < %s ORDER BY o.id LIMIT 100
"""
# By ctid, and one operation's: neither leaves the planner a choice that old statistics could spoil.
_DELETE_LINES = """
DELETE FROM deploys_logline WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM deploys_logline WHERE operation_id = %s ORDER BY seq LIMIT %s FOR UPDATE SKIP LOCKED))
"""
_COUNT_LINES = "SELECT count(*) FROM deploys_logline WHERE operation_id = ANY(%s)"
_OLD = f"""
SELECT o.id, o.total * o.attempt FROM deploys_operation o JOIN inventory_service s ON s.id = o.service_id
WHERE o.id > %s AND o.finished_at < %s AND NOT {IS_RECENTLY_STAGED} ORDER BY o.id LIMIT %s
"""  # noqa: S608 - only a constant is spliced in

# Of each instance: its newest operation, and the newest that brought each release that it runs or ran.
_EXPLAINING = """
SELECT DISTINCT kept.operation_id FROM inventory_instance i
CROSS JOIN LATERAL (
    (SELECT t.operation_id FROM deploys_target t WHERE t.instance_id = i.id ORDER BY t.id DESC LIMIT 1)
    UNION ALL
    SELECT brought.operation_id FROM unnest(i.running_release || i.release_history) ran(release)
    CROSS JOIN LATERAL (
        SELECT t.operation_id FROM deploys_target t
        JOIN deploys_operation o ON o.id = t.operation_id
        LEFT JOIN deploys_package p ON p.id = o.package_id
        WHERE t.instance_id = i.id AND t.status = 'completed' AND o.until = 'switched'
            AND coalesce(p.release, o.version) = ran.release
        ORDER BY t.id DESC LIMIT 1
    ) brought
) kept
WHERE i.retired_at IS NULL
"""


@dataclass(kw_only=True)
class Gone:
    """How many went, or would go."""

    operations: int = 0
    targets: int = 0


def prune_log_lines(before: datetime, *, dry_run: bool = False) -> int:
    """Those of operations that ended before; returns how many went."""
    gone, last = 0, 0
    while operations := _ids(_WITH_OLD_LINES, [last, before]):
        gone += _count(_COUNT_LINES, operations) if dry_run else _delete_lines(operations)
        last = operations[-1]
    return gone


def prune_operations(before: datetime, *, dry_run: bool = False) -> Gone:
    """Those that ended before, with their targets and what is left of their logs.

    Kept are those that tell how an instance came to what it runs, and to what it can go back to; and what is staged.
    """
    gone = Gone()
    for some in _old_operations(before, kept=frozenset(_ids(_EXPLAINING, []))):
        if dry_run:
            gone.operations += len(some)
            gone.targets += _count("SELECT count(*) FROM deploys_target WHERE operation_id = ANY(%s)", some)
        else:
            _delete_lines(some)
            _delete_operations(some, before, gone)
    return gone


def lines_deleted(operation: Operation) -> int:
    """How many of the log's first lines are no longer kept. Lines are numbered from 1, without gaps."""
    first = LogLine.objects.filter(operation=operation).order_by("seq").values_list("seq", flat=True).first()
    return operation.log_seq if first is None else first - 1


def _old_operations(before: datetime, *, kept: frozenset[int]) -> Iterator[list[int]]:
    """Some at a time, so many that a transaction stays small."""
    last = 0
    while rows := _rows(_OLD, [last, before, OPERATIONS_AT_ONCE]):
        some: list[int] = []
        targets = 0
        for operation, size in rows:
            if some and targets + size > TARGETS_AT_ONCE:
                yield some
                some, targets = [], 0
            if operation not in kept:
                some.append(operation)
                targets += size
        if some:
            yield some
        last = rows[-1][0]


def _delete_lines(operations: Sequence[int]) -> int:
    """Lines that another prune holds are left to it."""
    gone = 0
    with connection.cursor() as cursor:
        for operation in operations:
            step = LINES_AT_ONCE
            while step == LINES_AT_ONCE:
                cursor.execute(_DELETE_LINES, [operation, LINES_AT_ONCE])
                step = cursor.rowcount
                gone += step
    return gone


@transaction.atomic
def _delete_operations(operations: Sequence[int], before: datetime, gone: Gone) -> None:
    """Less those that somebody works on just now: a retry, or another prune."""
    locked = lock_ended_operations(operations, before=before)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE deploys_operation SET undoes_id = NULL WHERE undoes_id = ANY(%s)", [locked])
        cursor.execute("DELETE FROM deploys_logline WHERE operation_id = ANY(%s)", [locked])
        cursor.execute("DELETE FROM deploys_target WHERE operation_id = ANY(%s)", [locked])
        gone.targets += cursor.rowcount
        cursor.execute("DELETE FROM deploys_operation WHERE id = ANY(%s)", [locked])
        gone.operations += cursor.rowcount


def _rows(sql: str, parameters: Sequence[Any]) -> list[tuple[int, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[int, ...]] = cursor.fetchall()
    return rows


def _ids(sql: str, parameters: Sequence[Any]) -> list[int]:
    return [row[0] for row in _rows(sql, parameters)]


def _count(sql: str, operations: Sequence[int]) -> int:
    return _rows(sql, [list(operations)])[0][0]
