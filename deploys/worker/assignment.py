"""What a worker has claimed: a target with all that its work needs, read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploys.models import Package
from deploys.operations.staged import Staged
from deploys.operations.transitions import MovableTarget
from deploys.states import Kind, Step, StopReason, TargetStatus, Until
from deploys.worker.bases import Base
from deploys.worker.claimed_rows import ClaimedRow
from inventory.actors import Actor, ActorKind
from inventory.models import Delivery
from inventory.nodes.transports.base import NodeAddress
from inventory.nodes.transports.jump_address import JumpAddress
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

    @property
    def begins_with_switch(self) -> bool:
        """Nobody asks its node for anything before the permission to switch is committed."""
        is_new = self.prior_fence is None and self.until == Until.SWITCHED
        return is_new and self.kind == Kind.ROLLBACK and self.package is not None

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
    row: ClaimedRow,
    prior_fence: int | None,
    prior_step: str,
    needed: tuple[str, ...],
    staged: Sequence[Staged],
    fence_of_others: int,
    bases: tuple[Base, ...],
    jump: JumpAddress | None,
) -> Assignment:
    """jump: the node's, where it has one."""
    return Assignment(
        target_id=row.target_pk,
        fence=row.fence,
        attempt=row.attempt,
        claims=row.claims,
        prior_fence=prior_fence,
        prior_step=Step(prior_step),
        stop_reason=StopReason(row.stop_reason),
        kind=Kind(row.kind),
        until=Until(row.until),
        confirmation=_confirmation(row),
        operation_id=row.operation_pk,
        operation_total=row.total,
        public_id=row.public_id,
        version=row.version,
        package_url=row.package_url,
        package=_found(row) or _pinned(row),
        actor=Actor(kind=ActorKind(row.requested_by_kind), name=row.requested_by),
        service=_rules(row),
        instance_pk=row.instance_pk,
        instance_id=row.instance_id,
        port=row.port,
        deploy_root=row.deploy_root,
        running_version=row.running_version,
        running_release=row.running_release,
        running_sha256=row.running_sha256,
        release_history=tuple(row.release_history),
        releases_needed=(*needed, *(each.release for each in staged)),
        is_staged=row.package_pk in [each.package_id for each in staged],
        bases=bases,
        fence_of_others=fence_of_others,
        node_pk=row.node_pk,
        node=_node(row, jump),
        delivery=Delivery(row.delivery),
    )


def _rules(row: ClaimedRow) -> ServiceRules:
    return ServiceRules(
        pk=row.service_pk,
        name=row.service_name,
        restart_command=row.restart_command,
        before_switch_command=row.before_switch_command,
        command_timeout_seconds=row.command_timeout,
        keep_releases=row.keep_releases,
        mutable_versions=row.mutable_versions,
        version_command=row.version_command,
        version_timeout_seconds=row.version_timeout if row.version_command else 0,
    )


def _node(row: ClaimedRow, jump: JumpAddress | None) -> NodeAddress:
    return NodeAddress(
        name=row.node_name,
        host=row.host,
        transport=row.transport,
        ssh_user=row.ssh_user,
        ssh_port=row.ssh_port,
        ssh_host_key=row.ssh_host_key,
        jump=jump,
        jump_socket=row.jump_socket,
        seen_at=row.seen_at,
    )


def _confirmation(row: ClaimedRow) -> Confirmation:
    if row.confirm_by is None:
        return Confirmation(within_seconds=row.confirm_within)
    return Confirmation(
        within_seconds=row.confirm_within,
        has_waited=True,
        is_given=row.confirmed_at is not None,
        overdue_seconds=(row.claimed_at - row.confirm_by).total_seconds(),
    )


def _found(row: ClaimedRow) -> PinnedPackage | None:
    """What a rollback goes back to that another tool had installed on this very instance."""
    is_found = row.kind == Kind.ROLLBACK and row.found_release == row.version
    return PinnedPackage(sha256="", release=row.found_release) if is_found else None


def _pinned(row: ClaimedRow) -> PinnedPackage | None:
    if row.package_sha256 is None or row.package_release is None:
        return None
    return PinnedPackage(sha256=row.package_sha256, release=row.package_release)


def pinned(package: Package | None) -> PinnedPackage | None:
    return None if package is None else PinnedPackage(sha256=package.sha256, release=package.release)
