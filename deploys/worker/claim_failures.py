"""Work that fails by an error, and not by an outage: before it is claimed, or again and again after.

What it would have taken must not stay unfinished for ever.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from django.db import ProgrammingError, connection

from deploys.error_codes import ErrorCode
from deploys.models import Target
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.states import Kind, Step, TargetStatus
from deploys.told import Told
from deploys.told import marked as _
from deploys.worker.assignment import MAY_HAVE_SWITCHED, Assignment
from deploys.worker.claims import CLAIMABLE
from inventory.actors import SYSTEM
from inventory.instances.facts import Effect
from inventory.models import RunStatus

logger = logging.getLogger(__name__)

# Tried again first: the schema may be changing just now, and another host's worker may be able to claim. 3.5 s in all.
TRIES = 4
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0

# As few columns as can be, for it may be a missing one that the claim failed by.
_OLDEST_CLAIMABLE = f"""
SELECT t.id, t.instance_id, t.operation_id, o.kind || ' ' || o.public_id, t.attempt, t.status, t.step, t.fence
FROM deploys_target t JOIN deploys_operation o ON o.id = t.operation_id
WHERE {CLAIMABLE} AND t.operation_id = (SELECT min(t.operation_id) FROM deploys_target t WHERE {CLAIMABLE})
"""  # noqa: S608 - only constants are spliced in

_OTHERS_IN_PROGRESS = """
SELECT EXISTS (
    SELECT FROM deploys_target t JOIN deploys_lease l ON l.id = t.lease_id
    WHERE t.kind = %s AND t.status = 'in_progress' AND l.id <> %s AND l.expires_at > clock_timestamp())
"""


def end_broken(assignment: Assignment, error: BaseException) -> None:
    """End a claimed target whose run broke off by this error, as it did before: it would break off for ever."""
    step = Target.objects.filter(pk=assignment.target_id).values_list("step", flat=True).first() or ""
    apply_moves(
        [
            _broken(
                assignment.as_claimed,
                step,
                assignment.fence,
                Told(_("%(error)s in the worker; its log has the details."), _facts(error)),
            )
        ]
    )


class _Claimable(NamedTuple):
    target: MovableTarget
    step: str
    fence: int | None


class ClaimFailures:
    """The failures in a row of one work loop's claims, or of its start.

    After TRIES of them each further one ends the oldest operation's claimable targets as failed, `internal_error`, so
    that an operation that can't be claimed keeps no other waiting. Nothing is ended while another work loop of
    the same kind has work in hand: that one will claim these too.
    """

    def __init__(self, *, kind: Kind, lease_id: int) -> None:
        self._kind = kind
        self._lease_id = lease_id
        self.clear()

    def clear(self) -> None:
        """A claim went well."""
        self._count = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._due_at = 0.0

    @property
    def is_retrying(self) -> bool:
        return self._count > 0

    @property
    def is_due(self) -> bool:
        return self.seconds_left <= 0

    @property
    def seconds_left(self) -> float:
        """Until the next try."""
        return self._due_at - time.monotonic()

    def add(self, error: Exception) -> None:
        """Log it, and end what is to be ended. In the database thread. Raises nothing."""
        self._count += 1
        logger.error("Claiming failed, %d in a row.", self._count, exc_info=error)
        connection.close()
        try:
            self._react(error)
        except Exception:
            connection.close()
            logger.exception("What can't be claimed could not be ended either; trying again.")
            self._wait_longer()

    def _react(self, error: Exception) -> None:
        claimable = _oldest_claimable(self._kind)
        if not claimable:
            self.clear()
        elif self._count < TRIES or self._is_another_working():
            self._wait_longer()
        else:
            ended = apply_moves([_failed(each, error) for each in claimable])
            logger.error("%d targets that could not be claimed are ended as failed.", len(ended))
            self._pause_seconds = FIRST_PAUSE_SECONDS

    def _wait_longer(self) -> None:
        self._due_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)

    def _is_another_working(self) -> bool:
        """Where leases can't even be read, nobody keeps one."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(_OTHERS_IN_PROGRESS, [self._kind, self._lease_id])
                row = cursor.fetchone()
        except ProgrammingError:
            return False
        return bool(row and row[0])


def _oldest_claimable(kind: Kind) -> Sequence[_Claimable]:
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_CLAIMABLE, {"kind": kind})
        rows = cursor.fetchall()
    return [
        _Claimable(MovableTarget(pk, instance, operation, name, attempt, TargetStatus(status)), step, fence)
        for pk, instance, operation, name, attempt, status, step, fence in rows
    ]


def _failed(claimable: _Claimable, error: Exception) -> Move:
    """Guarded: whoever could claim the target meanwhile keeps it."""
    what = Told(_("%(error)s when a worker was to begin; its log has the details."), _facts(error))
    if claimable.target.status == TargetStatus.IN_PROGRESS:
        return _broken(claimable.target, claimable.step, claimable.fence, what)
    return replace(_broken(claimable.target, "", None, what), step=Step.QUEUED)


def _broken(target: MovableTarget, step: str, fence: int | None, what: Told) -> Move:
    return Move.of(
        target,
        to=TargetStatus.FAILED,
        actor=SYSTEM,
        fence=fence,
        error_code=ErrorCode.INTERNAL_ERROR,
        told=(what,),
        effect=Effect(run_status=RunStatus.UNKNOWN, process="") if step in MAY_HAVE_SWITCHED else None,
    )


def _facts(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__}
