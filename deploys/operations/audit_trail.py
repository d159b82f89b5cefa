"""What the audit keeps of an operation: who started, cancelled or retried it."""

from __future__ import annotations

from collections.abc import Mapping

from deploys.models import Operation
from inventory.security import audit
from inventory.security.access import Access


def record_action(
    access: Access, operation: Operation, action: str, *, detail: Mapping[str, object] | None = None
) -> None:
    """action: `start`, `cancel` or `retry`."""
    audit.record(
        actor=access.actor,
        action=f"{operation.kind}.{action}",
        object_kind=operation.kind,
        object_id=operation.public_id,
        service=operation.service.name,
        detail=detail,
    )
