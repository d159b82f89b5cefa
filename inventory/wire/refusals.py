"""What calls may be refused with, for the OpenAPI document.

A view names the codes that are its own in `refusals`, by HTTP status; one with several methods has a dict of them by
method, as with `required_scope`:

    refusals = {404: ("service_not_found",), 409: ("deploy_id_reused", "instance_busy")}

What every call has, and the codes of a request's fields, come by themselves (`releasesite.api.schema_errors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Refusals = Mapping[int, Sequence[str]]

_INSTANCE_ID: dict[str, Any] = {"instance_id": {"type": "string"}}
# The keys that an error has beside `code`, `detail` and `attr`, by its code. Another error of the same answer lacks them.
FACTS_OF: dict[str, dict[str, Any]] = {
    "duplicate_instance": _INSTANCE_ID,
    "instance_not_found": _INSTANCE_ID,
    "already_reverted": _INSTANCE_ID,
    "not_waiting": _INSTANCE_ID,
    "nothing_to_revert_to": _INSTANCE_ID,
    "no_previous_version": _INSTANCE_ID,
    # Of an entry of the inventory, if it is an instance's.
    "invalid": _INSTANCE_ID,
    "instance_retired": _INSTANCE_ID,
    "node_in_use": _INSTANCE_ID,
    "instance_busy": {
        **_INSTANCE_ID,
        "operation": {"type": "string", "description": "The id of the operation that holds it."},
        "kind": {"type": "string", "enum": ["deploy", "rollback"], "description": "Of that operation."},
        "step": {"type": "string"},
        "age_seconds": {"type": "integer"},
    },
    "service_held": {
        "held_by": {"type": "string"},
        "held_at": {"type": "string", "format": "date-time"},
        "until": {"type": ["string", "null"], "format": "date-time"},
        "reason": {"type": "string"},
    },
}


def refusals_of(view: object, method: str) -> Refusals:
    """What the view itself says of this method."""
    declared: Mapping[Any, Any] = getattr(view, "refusals", {})
    return declared.get(method.upper(), {}) if any(isinstance(key, str) for key in declared) else declared
