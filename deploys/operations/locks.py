"""The order in which rows are locked: instances by id, then operations by id, then targets.

Everyone keeps to it, so that two transactions wait for each other instead of deadlocking.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from deploys.models import Target
from inventory.instances.locks import lock_instances

__all__ = ("lock_instances", "lock_operation", "lock_operations")


def lock_operations(pks: Iterable[int]) -> None:
    """Lock these operations until the transaction ends. The caller has locked the instances that it needs before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM deploys_operation WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [sorted(set(pks))]
        )


def lock_operation(pk: int) -> None:
    """Lock an operation, and before it every instance that it has."""
    lock_instances(Target.objects.filter(operation=pk).values_list("instance_id", flat=True))
    lock_operations([pk])
