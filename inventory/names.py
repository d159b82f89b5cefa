"""The one charset of names, ids and versions (CONTRACT.md, "Inventory file")."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MAX_NAME_LENGTH = 100
MAX_OPERATION_ID_LENGTH = 200
NAME_PATTERN = rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{MAX_NAME_LENGTH - 1}}}"
OPERATION_ID_PATTERN = rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{MAX_OPERATION_ID_LENGTH - 1}}}"

_NAME = re.compile(NAME_PATTERN)
_OPERATION_ID = re.compile(OPERATION_ID_PATTERN)
# Words that mean something else inside a deploy root.
_RESERVED = frozenset({"current", "shared"})


def is_name(value: object) -> bool:
    """True for a service, node, instance id or version. `fullmatch`: `$` would let a trailing newline pass."""
    return (
        isinstance(value, str)
        and _NAME.fullmatch(value) is not None
        and value not in _RESERVED
        and not value.endswith(".tmp")
    )


def is_operation_id(value: object) -> bool:
    """True for a deploy_id or rollback_id."""
    return isinstance(value, str) and _OPERATION_ID.fullmatch(value) is not None


def validate_name(value: str) -> None:
    """Raise Django's ValidationError, saying the rule, unless `is_name(value)`."""
    if not is_name(value):
        raise ValidationError(
            _(
                "%(value)r is not a valid name: 1 to 100 letters, digits or . _ + -, starting with a letter or digit; "
                "not current, shared or *.tmp."
            ),
            code="invalid_name",
            params={"value": value},
        )
