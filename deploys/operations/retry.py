"""Try again what failed or was cancelled, as a new attempt of the same operation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.db import transaction
from django.utils.translation import gettext as _

from deploys.error_codes import ErrorCode
from deploys.models import Operation
from deploys.operations.audit_trail import record_action
from deploys.operations.busy import busy_problems, retired_problems
from deploys.operations.create import (
    insert_targets,
    wake_workers,
)
from deploys.operations.held import hold_problems
from deploys.operations.journal import log_asked_for
from deploys.operations.locks import lock_for_deploy, lock_operation
from deploys.operations.naming import named
from deploys.operations.old_workers import old_worker_problems
from deploys.operations.queries import visible_operation
from deploys.operations.reauth_rule import check_password_given
from deploys.states import RETRYABLE, Kind, OperationStatus
from inventory.errors import Conflict
from inventory.security.access import Access
from inventory.security.redaction import redact_url


@dataclass(frozen=True, kw_only=True)
class RetryRequest:
    """'' leaves what the operation was made of: where its package is, and which digest it must have.

    attempt: the number of the attempt that this makes; None makes the next, whichever that is.
    """

    package_url: str = ""
    sha256: str = ""
    attempt: int | None = None


UNCHANGED = RetryRequest()


def retry_operation(
    *,
    access: Access,
    kind: Kind,
    public_id: str,
    request: RetryRequest = UNCHANGED,
    has_given_password: bool = False,
) -> Operation:
    """Try an operation's failed and cancelled targets again, as a new attempt of the same operation.

    The same attempt asked for again is that attempt again. has_given_password: the person at the console did so for this
    very retry. Raises NotFound; Conflict `attempt_mismatch`, `nothing_to_retry`, `cancel_in_progress`,
    `package_digest_conflict`, `workers_outdated`, `service_held` (both a deploy's alone), `instance_retired` or
    `instance_busy`; Forbidden `password_required`.
    """
    operation = visible_operation(access, kind, public_id)
    with transaction.atomic():
        if kind == Kind.DEPLOY:
            lock_for_deploy(operation.service_id)
        instance_ids = _lock_retryable(operation)
        if _is_made_already(operation, request):
            return operation
        _check_state(operation, request)
        if not instance_ids:
            raise Conflict(
                _("%(kind)s '%(id)s' has no failed or cancelled instance to try again.") % named(operation),
                code="nothing_to_retry",
            )
        check_password_given(access, kind, len(instance_ids), has_given_password=has_given_password)
        problems = retired_problems(instance_ids) + busy_problems(kind, instance_ids)
        if kind == Kind.DEPLOY:
            outdated = old_worker_problems(until=operation.until, confirm_within=operation.confirm_within)
            problems = outdated + hold_problems(operation.service) + problems
        if problems:
            raise Conflict(problems=problems)
        _reopen(operation, instance_ids, request)
        wake_workers(operation)
        record_action(access, operation, "retry", detail=_detail(request))
        transaction.on_commit(partial(log_asked_for, operation), robust=True)
    return operation


def _detail(request: RetryRequest) -> dict[str, object]:
    return {"package_url": redact_url(request.package_url)} if request.package_url else {}


def _lock_retryable(operation: Operation) -> list[int]:
    """Looked for once they are locked: another retry may have been faster."""
    lock_operation(operation.pk)
    failed = operation.targets.filter(is_latest=True, status__in=RETRYABLE)
    return list(failed.values_list("instance_id", flat=True))


def _is_made_already(operation: Operation, request: RetryRequest) -> bool:
    """Once it is locked. Raises Conflict for an attempt that is neither the newest nor the next."""
    operation.refresh_from_db()
    if request.attempt in (None, operation.attempt + 1):
        return False
    if request.attempt == operation.attempt:
        return True
    raise Conflict(
        _(
            "%(kind)s '%(id)s' is at attempt %(attempt)s: a retry makes attempt %(next)s. "
            "Look at its status before you try it again."
        )
        % {**named(operation), "attempt": operation.attempt, "next": operation.attempt + 1},
        code="attempt_mismatch",
        attr="attempt",
    )


def _check_state(operation: Operation, request: RetryRequest) -> None:
    """Once it is locked. Raises Conflict."""
    if operation.cancel_requested_at is not None and operation.finished_at is None:
        raise Conflict(
            _("%(kind)s '%(id)s' is being cancelled. Retry it when its status is `cancelled`.") % named(operation),
            code="cancel_in_progress",
        )
    package = operation.package
    if request.sha256 and package is not None and package.sha256 != request.sha256:
        raise Conflict(
            _(
                "%(kind)s '%(id)s' has its package already, and that has sha256 %(sha256)s. "
                "Retry it without a sha256, or start another %(kind)s."
            )
            % {**named(operation), "sha256": package.sha256},
            code=ErrorCode.PACKAGE_DIGEST_CONFLICT,
            attr="sha256",
        )


def _reopen(operation: Operation, instance_ids: list[int], request: RetryRequest) -> None:
    operation.package_url = request.package_url or operation.package_url
    operation.requested_sha256 = request.sha256 or operation.requested_sha256
    operation.attempt += 1
    operation.status = OperationStatus.PENDING
    operation.finished_at = None
    operation.cancel_requested_at = None
    operation.package_error_code = operation.package_error_message = ""
    operation.package_error_told = None
    operation.save(
        update_fields=(
            "package_url",
            "requested_sha256",
            "attempt",
            "status",
            "finished_at",
            "cancel_requested_at",
            "package_error_code",
            "package_error_message",
            "package_error_told",
        )
    )
    operation.targets.filter(instance_id__in=instance_ids, is_latest=True).update(is_latest=False)
    insert_targets(operation, instance_ids, attempt=operation.attempt)
