"""Which of these instances can't be worked on now: an unfinished operation holds them, or they were retired meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection
from django.utils.translation import gettext as _

from deploys.operations.naming import kind_word
from deploys.operations.sql import unfinished
from deploys.states import Kind
from inventory.errors import Problem

_HOLDERS = f"""
SELECT i.instance_id, o.kind, o.public_id, t.status, t.step,
    extract(epoch FROM clock_timestamp() - t.created_at)::bigint
FROM deploys_target t
JOIN deploys_operation o ON o.id = t.operation_id
JOIN inventory_instance i ON i.id = t.instance_id
WHERE t.instance_id = ANY(%s) AND {unfinished("t")} AND t.kind = ANY(%s)
ORDER BY i.natural_key
"""  # noqa: S608 - only constants are spliced in


_RETIRED = (
    "SELECT instance_id FROM inventory_instance WHERE id = ANY(%s) AND retired_at IS NOT NULL ORDER BY natural_key"
)


def retired_problems(instance_ids: Sequence[int]) -> list[Problem]:
    """A problem `instance_retired` for each that was retired before it was locked, or since it was last worked on."""
    with connection.cursor() as cursor:
        cursor.execute(_RETIRED, [list(instance_ids)])
        names = [row[0] for row in cursor.fetchall()]
    return [
        Problem(
            code="instance_retired",
            detail=_("Instance '%(instance)s' is retired. Leave it out, or bring it back by PUT /v1/inventory.")
            % {"instance": name},
            attr="instances",
            facts={"instance_id": name},
        )
        for name in names
    ]


def busy_problems(kind: Kind, instance_ids: Sequence[int]) -> list[Problem]:
    """A problem `instance_busy` for each instance in the way. To a rollback only another rollback is."""
    holding = [Kind.ROLLBACK] if kind == Kind.ROLLBACK else [Kind.DEPLOY, Kind.ROLLBACK]
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [list(instance_ids), holding])
        rows = cursor.fetchall()
    return [
        Problem(
            code="instance_busy",
            detail=_(
                "Instance '%(instance)s' is held by %(kind)s '%(id)s': %(status)s, step %(step)s, for %(age)s s. "
                "Wait for it, or cancel it."
            )
            % {
                "instance": instance_id,
                "kind": kind_word(holder_kind),
                "id": public_id,
                "status": status,
                "step": step,
                "age": age_seconds,
            },
            attr="instances",
            facts={
                "instance_id": instance_id,
                "operation": public_id,
                "kind": holder_kind,
                "step": step,
                "age_seconds": age_seconds,
            },
        )
        for instance_id, holder_kind, public_id, status, step, age_seconds in rows
    ]
