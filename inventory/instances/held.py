"""Which instances operations hold. Inventory knows no operations: `deploys` hands the answer in when it is ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import QuerySet

_answer: Callable[[], QuerySet[Any]]


def answer_with(unfinished: Callable[[], QuerySet[Any]]) -> None:
    global _answer
    _answer = unfinished


def unfinished_targets() -> QuerySet[Any]:
    """A row for each hold of an operation on an instance: `instance`, `kind`, `status`, `operation__public_id`."""
    return _answer()


def in_progress() -> QuerySet[Any]:
    """Those holds whose operation is at work on the instance now."""
    return unfinished_targets().filter(status="in_progress")


def being_changed(pks: Iterable[int]) -> set[int]:
    """Those of the instances that an operation is at work on now."""
    return set(in_progress().filter(instance__in=list(pks)).values_list("instance_id", flat=True))
