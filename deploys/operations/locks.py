"""The order of locks: a service's hold, then the rows of instances by id, of operations by id, of targets.

Everyone keeps to it, so that two transactions wait for each other instead of deadlocking.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from deploys.models import Target
from inventory.instances.locks import lock_instances

__all__ = (
    "lock_ended_operations",
    "lock_for_deploy",
    "lock_for_hold",
    "lock_instances",
    "lock_operation",
    "lock_operations",
)


def lock_for_deploy(service_pk: int) -> None:
    """No hold of this service comes about before the transaction ends. For whoever makes work of a deploy."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtext('deploys.hold'), %s::integer)", [service_pk])


def lock_for_hold(service_pk: int) -> None:
    """No deploy of this service is made or tried again, and no other hold, before the transaction ends.

    Those that wait for it while it waits come after it: a flood of deploys does not keep it waiting.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('deploys.hold'), %s::integer)", [service_pk])


def lock_operations(pks: Iterable[int]) -> None:
    """Lock these operations until the transaction ends. The caller has locked the instances that it needs before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM deploys_operation WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [sorted(set(pks))]
        )


def lock_ended_operations(pks: Iterable[int], *, before: datetime) -> list[int]:
    """Lock those of these operations that ended before, and return them; one that somebody works on is left out.

    For who waits for nobody: it locks no instance.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM deploys_operation WHERE id = ANY(%s) AND finished_at < %s ORDER BY id FOR UPDATE SKIP LOCKED",
            [list(pks), before],
        )
        return [row[0] for row in cursor.fetchall()]


def lock_operation(pk: int) -> None:
    """Lock an operation, and before it every instance that it has."""
    lock_instances(Target.objects.filter(operation=pk).values_list("instance_id", flat=True))
    lock_operations([pk])
