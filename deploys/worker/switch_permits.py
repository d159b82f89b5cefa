"""Whether a target may be switched now: decided by one statement, together with the commit that its switch begins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from deploys.states import StopReason


@dataclass(frozen=True, kw_only=True)
class SwitchRequest:
    """seconds: how long each finished step took so far."""

    target_id: int
    fence: int
    operation_id: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class Granted:
    """The target's step is `switch` now: whoever wants it to stop waits for the switch's end."""


@dataclass(frozen=True)
class Stop:
    """The target was asked to stop before."""

    reason: StopReason


@dataclass(frozen=True)
class Lost:
    """This claim no longer holds the target."""


Permit = Granted | Stop | Lost

_PERMITS = """
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS v(id bigint, fence bigint, seconds jsonb)
), permitted AS (
    UPDATE deploys_target t SET step = 'switch', step_seconds = t.step_seconds || v.seconds, begun_fence = v.fence,
        updated_at = clock_timestamp()
    FROM asked v
    WHERE t.id = v.id AND t.fence = v.fence AND t.status = 'in_progress' AND t.stop_reason = ''
    RETURNING t.id
)
SELECT id, '' FROM permitted
UNION ALL
SELECT t.id, t.stop_reason FROM deploys_target t JOIN asked v ON v.id = t.id
WHERE t.fence = v.fence AND t.status = 'in_progress' AND t.stop_reason <> ''
"""


def write_permits(requests: Sequence[SwitchRequest]) -> dict[int, Permit]:
    """By target id; one that is missing is lost. Asked to stop during the query, it shows up in neither half: ask again."""
    if not requests:
        return {}
    records = [{"id": each.target_id, "fence": each.fence, "seconds": each.seconds} for each in requests]
    permits = _ask(records)
    undecided = [record for record in records if record["id"] not in permits]
    return permits | (_ask(undecided) if undecided else {})


def _ask(records: Sequence[dict[str, object]]) -> dict[int, Permit]:
    with connection.cursor() as cursor:
        cursor.execute(_PERMITS, [json.dumps(records)])
        return {pk: Stop(StopReason(reason)) if reason else Granted() for pk, reason in cursor.fetchall()}
