"""Where an instance goes back to, and which deploy that takes away (CONTRACT.md, "Rollback"). One rule for all callers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

from django.db import connection
from django.db.models import Exists, OuterRef

from deploys.error_codes import ErrorCode
from deploys.models import Target
from deploys.operations.sql import unfinished
from deploys.states import ACTIVE, Kind, Step, Until
from inventory.models import Instance, Service
from inventory.releases import version_of


@dataclass(frozen=True, kw_only=True)
class Past:
    """What an instance runs, and the releases that it ran successfully, the oldest first; many instances share one."""

    running_version: str
    running_release: str
    history: tuple[str, ...]

    @cached_property
    def earlier(self) -> list[str]:
        """Releases other than the running one, the latest first, each once."""
        return list(dict.fromkeys(release for release in reversed(self.history) if release != self.running_release))

    @cached_property
    def version_before(self) -> str:
        """The last version before the present one that it ran successfully, '' if there was none."""
        versions = (version_of(release) for release in self.earlier)
        return next((version for version in versions if version != self.running_version), "")

    @property
    def has_run_successfully(self) -> bool:
        return bool(self.history) and self.history[-1] == self.running_release


class UnfinishedDeploy(NamedTuple):
    """A deploy on one instance. previous_version: what ran when it, or the attempt that this is, was asked for.

    until: one that does not switch takes nothing away.
    """

    operation_id: int
    public_id: str
    version: str
    until: str
    previous_version: str

    @classmethod
    def of(cls, target: Target) -> Self:
        """From a row that is loaded with its operation."""
        operation = target.operation
        return cls(operation.pk, operation.public_id, operation.version, operation.until, target.previous_version)

    @property
    def switches(self) -> bool:
        return self.until == Until.SWITCHED

    def takes_away(self, running_version: str) -> bool:
        """The instance is about to leave what it runs; not when the deploy brings that again."""
        return self.version != running_version


def past_of(instance: Instance) -> Past:
    return Past(
        running_version=instance.running_version,
        running_release=instance.running_release,
        history=tuple(instance.release_history),
    )


def version_before(past: Past, deploy: UnfinishedDeploy | None) -> str:
    """The version that an instance goes back to if none is named; '' if nothing is known.

    With a deploy unfinished on it, what it ran before that deploy. What it runs is recorded when a target ends, so
    that this is what is recorded still, but for three cases: the new version is there already by what the node says
    itself; it failed here and is tried again; or it is the version that ran before, too.
    """
    if deploy is None or not deploy.switches:
        return past.version_before
    if deploy.takes_away(past.running_version):
        return past.running_version or past.version_before
    if deploy.previous_version not in ("", deploy.version):
        return deploy.previous_version
    return past.running_version if past.has_run_successfully else past.version_before


def unfinished_deploys(
    *, service: Service | None = None, instances: Iterable[int] | None = None
) -> Mapping[int, UnfinishedDeploy]:
    """By instance, of a service or of these instances (primary keys). An instance has one at the most."""
    targets = Target.objects.filter(kind=Kind.DEPLOY, status__in=ACTIVE)
    if service is not None:
        targets = targets.filter(operation__service=service, operation__finished_at=None)
    if instances is not None:
        targets = targets.filter(instance__in=list(instances))
    rows = targets.values_list(
        "instance_id",
        "operation_id",
        "operation__public_id",
        "operation__version",
        "operation__until",
        "previous_version",
    )
    return {row[0]: UnfinishedDeploy(*row[1:]) for row in rows}


def about_to_leave(version: str) -> Exists:
    """Of instances: an unfinished deploy is about to take them away from this version, which they run."""
    targets = Target.objects.filter(instance=OuterRef("pk"), kind=Kind.DEPLOY, status__in=ACTIVE)
    return Exists(targets.filter(operation__until=Until.SWITCHED).exclude(operation__version=version))


# Of each instance: the deploy that is unfinished on it, which is its newest; else the newest one that can have brought
# what it runs, if the rollback takes that away. Reverted, or ended before its switch, a deploy has brought nothing.
_UNDONE = f"""
SELECT brought.operation_id FROM inventory_instance i
CROSS JOIN LATERAL (
    SELECT t.operation_id FROM deploys_target t JOIN deploys_operation o ON o.id = t.operation_id
    WHERE t.instance_id = i.id AND t.kind = 'deploy' AND o.until = 'switched' AND (
        {unfinished("t")}
        OR i.running_version <> %(version)s AND o.version = i.running_version AND (
            t.status = 'completed'
            OR t.step = ANY(%(switched)s) AND t.reverted IS NOT TRUE AND t.error_code <> ALL(%(unswitched)s)))
    ORDER BY t.id DESC LIMIT 1
) brought
WHERE i.id = ANY(%(instances)s)
GROUP BY brought.operation_id ORDER BY count(*) DESC, brought.operation_id DESC LIMIT 1
"""  # noqa: S608 - only constants are spliced in
_SWITCHED = [Step.SWITCH, Step.RESTART, Step.VERIFY, Step.CONFIRM, Step.CLEAN_UP, Step.DONE]
# With which a node refuses a switch before the link moves.
_UNSWITCHED = [
    ErrorCode.SWITCH_FAILED, ErrorCode.NODE_DISK_FULL, ErrorCode.NODE_NOT_WRITABLE, ErrorCode.NODE_UNSUITABLE,
]  # fmt: skip


def undone_by_rollback(instances: Sequence[int], *, to: str) -> int | None:
    """The deploy (its key) that a rollback of these instances takes away, of several the one that most of them are in."""
    with connection.cursor() as cursor:
        cursor.execute(
            _UNDONE,
            {"version": to, "switched": _SWITCHED, "unswitched": _UNSWITCHED, "instances": list(instances)},
        )
        row = cursor.fetchone()
    return row[0] if row else None
