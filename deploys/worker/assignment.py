"""What a worker has claimed: a target with all that its work needs, read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from deploys.models import Operation, Package, Target
from deploys.operations.staged import Staged
from deploys.operations.transitions import MovableTarget
from deploys.states import Kind, Step, StopReason, TargetStatus, Until
from deploys.worker.bases import Base
from inventory.actors import Actor, ActorKind
from inventory.models import Delivery, Instance
from inventory.nodes.transports.base import NodeAddress
from inventory.releases import kept_by_switch

# From here on the node may run the new release: a worker that recovers the target asks the node before it does anything.
MAY_HAVE_SWITCHED = frozenset({
    Step.SWITCH, Step.RESTART, Step.VERIFY, Step.CONFIRM, Step.REVERT, Step.CLEAN_UP,
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ServiceRules:
    """The service's settings as they were when the target was claimed; timeouts in seconds."""

    pk: int
    name: str
    restart_command: str
    before_switch_command: str
    command_timeout_seconds: int
    keep_releases: int
    mutable_versions: bool
    version_command: str
    version_timeout_seconds: int


@dataclass(frozen=True, kw_only=True)
class PinnedPackage:
    """sha256: '' for a release that another tool had installed before our first switch, which there is no package of."""

    sha256: str
    release: str

    @property
    def is_found(self) -> bool:
        return not self.sha256


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """within_seconds: 0 for a switch that nobody has to confirm. has_waited: its node has begun to wait for that.

    is_given: it was confirmed. overdue_seconds: since the time for that was over, by the database's clock; below zero
    before it is.
    """

    within_seconds: int
    has_waited: bool = False
    is_given: bool = False
    overdue_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One claimed target. prior_fence and prior_step tell of a dead worker's claim; None and QUEUED if there was none.

    releases_needed: release folders that another unfinished operation on this instance will want, or that stand staged there.
    is_staged: the release stands on the node from an operation that only staged it. bases: releases that may stand there, which
    it can be made of.
    fence_of_others: the newest claim of another target on this instance; known when was_switching.
    """

    target_id: int
    fence: int
    attempt: int
    claims: int
    prior_fence: int | None
    prior_step: Step
    stop_reason: StopReason
    kind: Kind
    until: Until
    confirmation: Confirmation
    operation_id: int
    operation_total: int
    public_id: str
    version: str
    package_url: str
    package: PinnedPackage | None
    actor: Actor
    service: ServiceRules
    instance_pk: int
    instance_id: str
    port: int
    deploy_root: str
    running_version: str
    running_release: str
    running_sha256: str
    release_history: tuple[str, ...]
    releases_needed: tuple[str, ...]
    is_staged: bool
    bases: tuple[Base, ...]
    fence_of_others: int
    node_pk: int
    node: NodeAddress
    delivery: Delivery

    @property
    def operation_name(self) -> str:
        return f"{self.kind} {self.public_id}"

    @property
    def as_claimed(self) -> MovableTarget:
        """The target as this claim holds it."""
        key = (self.target_id, self.instance_pk, self.operation_id, self.operation_name, self.attempt)
        return MovableTarget(*key, status=TargetStatus.IN_PROGRESS)

    @property
    def was_switching(self) -> bool:
        return self.prior_fence is not None and self.prior_step in MAY_HAVE_SWITCHED

    def releases_kept(self, package: PinnedPackage) -> list[str]:
        """Release folders that the clean-up spares: the newest successful ones, and what others will need."""
        keep = self.service.keep_releases
        ours = kept_by_switch(to=package.release, history=self.release_history, keep_releases=keep)
        return list(dict.fromkeys([*ours, *self.releases_needed]))

    @property
    def environment(self) -> dict[str, str]:
        """What a service's commands find in their environment (CONTRACT.md, "What is on a node")."""
        return {
            "RELEASE_SERVICE": self.service.name,
            "RELEASE_VERSION": self.version,
            "RELEASE_PREVIOUS_VERSION": self.running_version,
            "RELEASE_INSTANCE": self.instance_id,
            "RELEASE_PORT": str(self.port),
            "RELEASE_ROOT": self.deploy_root,
            "RELEASE_OPERATION": self.public_id,
        }


def assignment_of(
    target: Target,
    prior_fence: int | None,
    prior_step: str,
    needed: tuple[str, ...],
    staged: Sequence[Staged],
    fence_of_others: int,
    bases: tuple[Base, ...],
) -> Assignment:
    operation, instance = target.operation, target.instance
    service, node = operation.service, instance.node
    assert target.fence is not None
    return Assignment(
        target_id=target.pk,
        fence=target.fence,
        attempt=target.attempt,
        claims=target.claims,
        prior_fence=prior_fence,
        prior_step=Step(prior_step),
        stop_reason=StopReason(target.stop_reason),
        kind=Kind(operation.kind),
        until=Until(operation.until),
        confirmation=_confirmation(target),
        operation_id=operation.pk,
        operation_total=operation.total,
        public_id=operation.public_id,
        version=operation.version,
        package_url=operation.package_url,
        package=_found(operation, instance) or pinned(operation.package),
        actor=Actor(kind=ActorKind(operation.requested_by_kind), name=operation.requested_by),
        service=ServiceRules(
            pk=service.pk,
            name=service.name,
            restart_command=service.restart_command,
            before_switch_command=service.before_switch_command,
            command_timeout_seconds=service.command_timeout,
            keep_releases=service.keep_releases,
            mutable_versions=service.mutable_versions,
            version_command=service.version_command,
            version_timeout_seconds=service.version_timeout if service.version_command else 0,
        ),
        instance_pk=instance.pk,
        instance_id=instance.instance_id,
        port=instance.port,
        deploy_root=instance.deploy_root,
        running_version=instance.running_version,
        running_release=instance.running_release,
        running_sha256=instance.running_sha256,
        release_history=tuple(instance.release_history),
        releases_needed=(*needed, *(each.release for each in staged)),
        is_staged=operation.package_id in [each.package_id for each in staged],
        bases=bases,
        fence_of_others=fence_of_others,
        node_pk=node.pk,
        node=NodeAddress.of(node),
        delivery=Delivery(node.delivery),
    )


def _confirmation(target: Target) -> Confirmation:
    within = target.operation.confirm_within
    if target.confirm_by is None:
        return Confirmation(within_seconds=within)
    claimed_at: datetime = getattr(target, "claimed_at", None) or timezone.now()
    return Confirmation(
        within_seconds=within,
        has_waited=True,
        is_given=target.confirmed_at is not None,
        overdue_seconds=(claimed_at - target.confirm_by).total_seconds(),
    )


def _found(operation: Operation, instance: Instance) -> PinnedPackage | None:
    """What a rollback goes back to that another tool had installed on this very instance."""
    is_found = operation.kind == Kind.ROLLBACK and instance.found_release == operation.version
    return PinnedPackage(sha256="", release=instance.found_release) if is_found else None


def pinned(package: Package | None) -> PinnedPackage | None:
    return None if package is None else PinnedPackage(sha256=package.sha256, release=package.release)
