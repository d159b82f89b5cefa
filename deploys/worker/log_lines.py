"""Log lines into the database, numbered under their operation's lock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection

from deploys.worker.batch import Line
from deploys.worker.log_share import size_of


def write_lines(lines: Sequence[Line]) -> dict[int, tuple[int, int]]:
    """Within a transaction that has locked the operations. Returns how many lines and bytes each one's log has now."""
    by_operation: dict[int, list[Line]] = {}
    for line in lines:
        by_operation.setdefault(line.operation_id, []).append(line)
    sizes: dict[int, tuple[int, int]] = {}
    for operation_id, theirs in sorted(by_operation.items()):
        sizes[operation_id] = _grow(operation_id, theirs)
        _insert(operation_id, theirs, last=sizes[operation_id][0])
    return sizes


_GROW = """
UPDATE deploys_operation
SET log_seq = log_seq + %s, log_bytes = log_bytes + %s, updated_at = clock_timestamp()
WHERE id = %s RETURNING log_seq, log_bytes
"""


def _grow(operation_id: int, lines: Sequence[Line]) -> tuple[int, int]:
    """Numbers come from the operation's row, which stays locked until the commit: readers see them in order."""
    with connection.cursor() as cursor:
        cursor.execute(_GROW, [len(lines), sum(size_of(line.text) for line in lines), operation_id])
        row: Any = cursor.fetchone()
    return row[0], row[1]


# One statement, whatever their number, that makes no objects: a large deploy has many lines.
_INSERT = """
INSERT INTO deploys_logline (operation_id, seq, instance_id, at, step, stream, text, told)
SELECT %s, %s + number, instance_id, at, step, stream, text, told::jsonb
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
    AS v(instance_id, at, step, stream, text, told, number)
"""


def _insert(operation_id: int, lines: Sequence[Line], *, last: int) -> None:
    """The newest of them gets the number `last`."""
    columns = (
        [line.instance_id for line in lines],
        [line.at for line in lines],
        [line.step for line in lines],
        [line.stream for line in lines],
        [line.text for line in lines],
        [json.dumps(line.told) if line.told else None for line in lines],
    )
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [operation_id, last - len(lines), *columns])
