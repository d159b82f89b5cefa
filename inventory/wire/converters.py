"""Path converters: a path with an impossible name or id matches nothing, so it is 404 before any query."""

from __future__ import annotations

from functools import cache

from django.urls import register_converter
from django.urls.converters import StringConverter

from inventory.names import NAME_PATTERN, OPERATION_ID_PATTERN


class NameConverter(StringConverter):
    regex = NAME_PATTERN


class OperationIdConverter(StringConverter):
    regex = OPERATION_ID_PATTERN


@cache
def register_converters() -> None:
    """For every urls.py that uses them; once is enough."""
    register_converter(NameConverter, "name")
    register_converter(OperationIdConverter, "operation_id")
