"""What failed targets have in common, and what their failing commands printed last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from deploys.models import Operation, Target
from deploys.operations.log import COMMAND_BEGINS
from deploys.states import TargetStatus

LAST_LINES = 10
LONGEST_LINE = 400
MOST_GROUPS = 20
MOST_NAMES = 50


@dataclass(frozen=True, kw_only=True)
class LastLines:
    """Of a command. seq: of the first one in the log."""

    seq: int
    texts: Sequence[str]


# From the newest beginning of that step's command on: a retry has lines in the same log.
_LAST_LINES = """
SELECT v.instance_id, l.seq, l.text
FROM unnest(%s::bigint[], %s::text[]) AS v(instance_id, step)
CROSS JOIN LATERAL (
    SELECT seq, left(text, %s) AS text FROM deploys_logline
    WHERE operation_id = %s AND instance_id = v.instance_id AND step = v.step AND stream <> 'system' AND seq > coalesce((
        SELECT max(seq) FROM deploys_logline
        WHERE operation_id = %s AND instance_id = v.instance_id AND step = v.step AND told -> 0 ->> 'text' = ANY(%s)
    ), 0)
    ORDER BY seq DESC LIMIT %s
) l
ORDER BY v.instance_id, l.seq
"""


def last_lines(operation: Operation, targets: Sequence[Target]) -> dict[int, LastLines]:
    """By instance, of those of the targets that ended with an error; by one query for all."""
    failed = [target for target in targets if target.error_code]
    if not failed:
        return {}
    wanted = [target.instance_id for target in failed], [target.step for target in failed]
    begins = list(COMMAND_BEGINS.values())
    with connection.cursor() as cursor:
        cursor.execute(_LAST_LINES, [*wanted, LONGEST_LINE, operation.pk, operation.pk, begins, LAST_LINES])
        rows: list[tuple[int, int, str]] = cursor.fetchall()
    found: dict[int, list[tuple[int, str]]] = {}
    for instance, seq, text in rows:
        found.setdefault(instance, []).append((seq, text))
    return {
        instance: LastLines(seq=lines[0][0], texts=[text for _seq, text in lines]) for instance, lines in found.items()
    }


@dataclass(frozen=True, kw_only=True)
class ErrorGroup:
    """Targets that failed alike. exit_status: of their command, None when it was none. names: of the first instances."""

    code: str
    step: str
    exit_status: str | None
    count: int
    names: Sequence[str]

    @property
    def others(self) -> int:
        return self.count - len(self.names)


_GROUPS = """
SELECT error_code, step, status, count(*), (array_agg(name ORDER BY name_key))[1:%s]
FROM (
    SELECT t.error_code, t.step, jsonb_path_query_first(t.error_told, 'strict $.**.status') #>> '{}' AS status,
        i.instance_id AS name, i.natural_key AS name_key
    FROM deploys_target t JOIN inventory_instance i ON i.id = t.instance_id
    WHERE t.operation_id = %s AND t.is_latest AND t.status = %s
) failed
GROUP BY error_code, step, status ORDER BY count(*) DESC, error_code, step, status LIMIT %s
"""


def error_groups(operation: Operation) -> list[ErrorGroup]:
    """Of all failed targets, the largest first; by one query however many there are."""
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS, [MOST_NAMES, operation.pk, TargetStatus.FAILED, MOST_GROUPS])
        return [
            ErrorGroup(code=code, step=step, exit_status=status, count=count, names=names)
            for code, step, status, count, names in cursor.fetchall()
        ]
