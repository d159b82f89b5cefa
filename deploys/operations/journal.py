"""What this process's own log says of operations: who deployed what, when, how it ended. After the commit, by the same keys."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from deploys.models import Operation, Target

logger = logging.getLogger(__name__)


def log_asked_for(operation: Operation) -> None:
    """It exists now, or is tried again. operation is loaded with its service."""
    logger.info("operation asked for", extra=_facts(operation))


def log_ended(operations: Sequence[int]) -> None:
    """By their keys."""
    for each in Operation.objects.filter(pk__in=operations).select_related("service").order_by("pk"):
        counts = {name: getattr(each, name) for name in ("completed", "failed", "cancelled", "superseded")}
        ending = {"status": each.status, "seconds": _seconds(each.started_at, each.finished_at)}
        logger.info("operation ended", extra=_facts(each) | ending | counts)


def log_failed(targets: Sequence[int]) -> None:
    """By their keys."""
    if not targets:
        return
    failed = Target.objects.filter(pk__in=targets).select_related("instance__node", "operation__service").order_by("pk")
    for each in failed:
        logger.warning("instance failed", extra=_facts(each.operation) | _failure(each))


def _facts(operation: Operation) -> dict[str, object]:
    return {
        "operation": str(operation),
        "service": operation.service.name,
        "version": operation.version,
        "until": operation.until,
        "requested_by": operation.requested_by,
        "instances": operation.total,
        "attempt": operation.attempt,
    }


def _failure(target: Target) -> dict[str, object]:
    return {
        "instance": target.instance.instance_id,
        "node": target.instance.node.name,
        "step": target.step,
        "code": target.error_code,
        "error": target.error_message,
        "reverted": target.reverted,
        "seconds": _seconds(target.started_at, target.finished_at),
    }


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else round((until - since).total_seconds(), 3)
