"""The states of operations and of their targets, and the moves between them. Pure: no database, no I/O."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Kind(models.TextChoices):
    DEPLOY = "deploy", _("Deploy")
    ROLLBACK = "rollback", _("Rollback")


class Until(models.TextChoices):
    """How far an operation goes: look only, have the release on every instance, or switch to it as well."""

    CHECKED = "checked", _("Check only")
    STAGED = "staged", _("Stage only")
    SWITCHED = "switched", _("Switch")


class OperationStatus(models.TextChoices):
    PENDING = "pending", _("Waiting")
    IN_PROGRESS = "in_progress", _("In progress")
    COMPLETED = "completed", _("Completed")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class TargetStatus(models.TextChoices):
    PENDING = "pending", _("Waiting")
    IN_PROGRESS = "in_progress", _("In progress")
    COMPLETED = "completed", _("Completed")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    SUPERSEDED = "superseded", _("Superseded")


ACTIVE = (TargetStatus.PENDING, TargetStatus.IN_PROGRESS)
TERMINAL = (
    TargetStatus.COMPLETED,
    TargetStatus.FAILED,
    TargetStatus.CANCELLED,
    TargetStatus.SUPERSEDED,
)
RETRYABLE = (TargetStatus.FAILED, TargetStatus.CANCELLED)

# in_progress → pending: a worker that stops hands an unswitched target back. In progress it stays when its node waits for a
# confirmation, which no worker does.
TRANSITIONS: dict[TargetStatus, tuple[TargetStatus, ...]] = {
    TargetStatus.PENDING: (
        TargetStatus.IN_PROGRESS,
        TargetStatus.COMPLETED,
        TargetStatus.FAILED,
        TargetStatus.CANCELLED,
        TargetStatus.SUPERSEDED,
    ),
    TargetStatus.IN_PROGRESS: (
        TargetStatus.PENDING,
        TargetStatus.IN_PROGRESS,
        TargetStatus.COMPLETED,
        TargetStatus.FAILED,
        TargetStatus.CANCELLED,
        TargetStatus.SUPERSEDED,
    ),
}


class Step(models.TextChoices):
    """What is being done to a target. Up to and including BEFORE_SWITCH nothing visible has changed on the node."""

    QUEUED = "queued", _("Wait")
    FETCH = "fetch", _("Download")
    CONNECT = "connect", _("Connect")
    CHECK = "check", _("Check")
    STAGE = "stage", _("Stage")
    BEFORE_SWITCH = "before_switch", _("Prepare")
    SWITCH = "switch", _("Switch")
    RESTART = "restart", _("Restart")
    VERIFY = "verify", _("Check version")
    CONFIRM = "confirm", _("Confirm")
    REVERT = "revert", _("Revert")
    CLEAN_UP = "clean_up", _("Clean up")
    DONE = "done", _("Done")


# The node itself is being worked on, for this target and no other: before, a target waits for its package or its turn.
ON_NODE = (
    Step.CHECK, Step.STAGE, Step.BEFORE_SWITCH, Step.SWITCH, Step.RESTART, Step.VERIFY, Step.CONFIRM, Step.REVERT,
    Step.CLEAN_UP,
)  # fmt: skip


class Source(models.TextChoices):
    """Where a target's release comes from. DELTA: only what differs from a release on the node was sent, which is never planned.

    NOWHERE is only ever planned: the release is unavailable.
    """

    NODE = "node", _("On the node")
    STORE = "store", _("Package store")
    DOWNLOAD = "download", _("Download")
    DELTA = "delta", _("What changed")
    NOWHERE = "nowhere", _("No source")


class StopReason(models.TextChoices):
    """Why an unfinished target has been asked to stop at its next safe point."""

    NONE = "", _("None")
    CANCEL = "cancel", _("Stop")
    SUPERSEDE = "supersede", _("Superseded by a rollback")


def outcome(counts: dict[str, int]) -> OperationStatus:
    """An operation's status, from how many of its targets have each target status."""
    if counts.get(TargetStatus.IN_PROGRESS):
        return OperationStatus.IN_PROGRESS
    if counts.get(TargetStatus.PENDING):
        done = sum(counts.get(status, 0) for status in TERMINAL)
        return OperationStatus.IN_PROGRESS if done else OperationStatus.PENDING
    if counts.get(TargetStatus.FAILED):
        return OperationStatus.FAILED
    if counts.get(TargetStatus.CANCELLED) or counts.get(TargetStatus.SUPERSEDED):
        return OperationStatus.CANCELLED
    return OperationStatus.COMPLETED
