"""Which releases may stand on an instance's node, that another one can be made of there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploys.models import Package
from deploys.worker.claimed_rows import ClaimedRow
from inventory.releases import kept


@dataclass(frozen=True, kw_only=True)
class Base:
    """release: the folder's name. sha256: of its package."""

    release: str
    sha256: str


def bases_on(rows: Sequence[ClaimedRow]) -> Mapping[int, tuple[Base, ...]]:
    """By instance: what is kept of the versions that it ran. Only the node knows whether they are there, and intact."""
    releases = {row.instance_pk: _kept(row) for row in rows}
    names = {name for each in releases.values() for name in each}
    if not names:
        return {}
    packages = Package.objects.filter(service__in={row.service_pk for row in rows}, release__in=names)
    found = packages.order_by().values_list("service_id", "release", "sha256")
    known = {(service, release): Base(release=release, sha256=sha256) for service, release, sha256 in found}
    return {
        row.instance_pk: tuple(
            known[key] for name in releases[row.instance_pk] if (key := (row.service_pk, name)) in known
        )
        for row in rows
    }


def _kept(row: ClaimedRow) -> list[str]:
    found = kept(running=row.running_release, history=row.release_history, keep_releases=row.keep_releases)
    return [name for name in found if name]
