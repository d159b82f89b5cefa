"""A request's query as a serializer takes it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request

from inventory.errors import InvalidRequest, Problem


def query_of(request: Request, *, lists: Collection[str] = ()) -> dict[str, Any]:
    """Each key with its value. lists: keys that may be repeated, or hold several values with commas between them.

    Raises InvalidRequest `duplicate_key` for any other that is repeated: one of the values would be ignored.
    """
    given = dict(request.query_params.lists())
    if twice := [key for key, values in given.items() if len(values) > 1 and key not in lists]:
        raise InvalidRequest(problems=[duplicate_key(key) for key in twice])
    return {key: _split(values) if key in lists else values[0] for key, values in given.items()}


def _split(values: list[Any]) -> list[str]:
    return [part for value in values for part in str(value).split(",")]


def duplicate_key(key: str) -> Problem:
    """Of a query, or of a body: one of its values would win silently."""
    return Problem(
        code="duplicate_key", detail=_("The key '%(key)s' is given more than once.") % {"key": key}, attr=key
    )
