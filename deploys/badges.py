"""How what operations are, do and come to is shown; on their pages stands what instances are as well."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deploys.error_codes import ErrorCode
from deploys.states import Kind, OperationStatus, Source, Step, TargetStatus
from inventory.console.badges import ACTOR, HEALTH, RUN, Badge, Badges, Look, badges

# Of an operation or a target that is asked to stop, and has not stopped yet.
STOPPING: Badges = {"stopping": Badge(label=_("Stopping"), icon="hand", tone="warn")}
OPERATION: Badges = {
    **badges(
        OperationStatus,
        {
            OperationStatus.PENDING: Look("clock"),
            OperationStatus.IN_PROGRESS: Look("spinner", "run"),
            OperationStatus.COMPLETED: Look("check", "ok"),
            OperationStatus.FAILED: Look("x", "fail"),
            OperationStatus.CANCELLED: Look("ban"),
        },
    ),
    **STOPPING,
}
TARGET: Badges = {
    **badges(
        TargetStatus,
        {
            TargetStatus.PENDING: Look("clock"),
            TargetStatus.IN_PROGRESS: Look("spinner", "run"),
            TargetStatus.COMPLETED: Look("check", "ok"),
            TargetStatus.FAILED: Look("x", "fail"),
            TargetStatus.CANCELLED: Look("ban"),
            TargetStatus.SUPERSEDED: Look("skip", "warn"),
        },
    ),
    **STOPPING,
}
SOURCE = badges(
    Source,
    {
        Source.NODE: Look("server", "ok"),
        Source.STORE: Look("box", "run"),
        Source.DOWNLOAD: Look("cloud", "warn"),
        Source.DELTA: Look("box", "ok"),
        Source.NOWHERE: Look("x", "fail"),
    },
)
KIND = badges(Kind, {Kind.DEPLOY: Look("rocket"), Kind.ROLLBACK: Look("undo")})
STEP: Badges = {step.value: Badge(label=step.label) for step in Step}
# What a search finds; operations are of their kind.
FOUND: Badges = {
    "service": Badge(label=_("Service"), icon="boxes"),
    "instance": Badge(label=_("Instance"), icon="box"),
    "node": Badge(label=_("Node"), icon="server"),
    "version": Badge(label=_("Version"), icon="layers"),
    **KIND,
}
FAMILIES: dict[str, Badges] = {
    "operation": OPERATION,
    "target": TARGET,
    "source": SOURCE,
    "kind": KIND,
    "found": FOUND,
    "step": STEP,
    "run": RUN,
    "health": HEALTH,
    "actor": ACTOR,
}


def badge(family: str, value: str) -> Badge:
    """Never fails: what a newer version calls a state is shown as it is."""
    return FAMILIES[family].get(value) or Badge(label=value)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """As an ErrorCode explains itself."""

    label: str | Promise
    advice: str | Promise


_UNKNOWN = Explanation(label=_("It failed"), advice=_("Read the log, then retry or roll back."))


def explained(code: str) -> ErrorCode | Explanation:
    return ErrorCode.named(code) or _UNKNOWN
