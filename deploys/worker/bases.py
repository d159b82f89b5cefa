"""Which releases may stand on an instance's node, that another one can be made of there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploys.models import Package, Target
from inventory.models import Instance
from inventory.releases import kept


@dataclass(frozen=True, kw_only=True)
class Base:
    """release: the folder's name. sha256: of its package."""

    release: str
    sha256: str


def bases_on(targets: Sequence[Target]) -> Mapping[int, tuple[Base, ...]]:
    """By instance: what is kept of the versions that it ran. Only the node knows whether they are there, and intact."""
    releases = {target.instance_id: _kept(target) for target in targets}
    names = {name for each in releases.values() for name in each}
    if not names:
        return {}
    packages = Package.objects.filter(service__in={target.instance.service_id for target in targets}, release__in=names)
    rows = packages.order_by().values_list("service_id", "release", "sha256")
    known = {(service, release): Base(release=release, sha256=sha256) for service, release, sha256 in rows}
    return {
        target.instance_id: tuple(
            known[key] for name in releases[target.instance_id] if (key := (target.instance.service_id, name)) in known
        )
        for target in targets
    }


def _kept(target: Target) -> list[str]:
    instance: Instance = target.instance
    keep_releases = target.operation.service.keep_releases
    history = instance.release_history
    return [
        name for name in kept(running=instance.running_release, history=history, keep_releases=keep_releases) if name
    ]
