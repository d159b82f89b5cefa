"""Deleting many rows in small transactions, beside everything else that goes on."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Model, QuerySet

ROWS = 1000


def delete_in_steps(rows: QuerySet[Model]) -> int:
    """Returns how many of these rows went. One that another transaction holds is left to it."""
    gone = 0
    while step := _delete_some(rows):
        gone += step
    return gone


@transaction.atomic
def _delete_some(rows: QuerySet[Model]) -> int:
    some = rows.order_by("pk").select_for_update(skip_locked=True, of=("self",))
    pks = list(some.values_list("pk", flat=True)[:ROWS])
    if pks:
        rows.model._default_manager.filter(pk__in=pks).delete()
    return len(pks)
