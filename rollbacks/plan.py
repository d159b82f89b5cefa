"""What a rollback would do, before anything happens: from → to per instance, from where, and what is in the way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from django.db.models import QuerySet

from deploys.models import Package, Target
from deploys.packages.store import stored
from deploys.states import ACTIVE, Kind
from inventory.models import Instance, Service
from rollbacks.offers import Offer, Past, Seen, offers_for


class Source(StrEnum):
    """Where the release will come from: the words of CONTRACT.md, and NOWHERE."""

    NODE = "node"
    STORE = "store"
    DOWNLOAD = "download"
    NOWHERE = "nowhere"


class Skip(StrEnum):
    """Why an instance is left out of a rollback."""

    RUNS_IT = "runs_it"
    ROLLING_BACK = "rolling_back"


class PlanRow(NamedTuple):
    """One instance; a tuple, because ten thousand are made at once.

    supersedes: the running deploy that would give way; held_by: the rollback that it is in.
    """

    pk: int
    instance_id: str
    from_version: str
    from_release: str
    source: Source
    supersedes: str = ""
    held_by: str = ""
    skip: Skip | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """rows: every instance meant, in natural order, the skipped ones too."""

    service: Service
    version: str
    package_url: str
    rows: Sequence[PlanRow]
    offers: Sequence[Offer]

    @cached_property
    def moving(self) -> list[PlanRow]:
        return [row for row in self.rows if row.skip is None]

    @cached_property
    def skipped(self) -> list[PlanRow]:
        return [row for row in self.rows if row.skip is not None]

    @cached_property
    def sources(self) -> list[tuple[str, int]]:
        counts = Counter(row.source for row in self.moving)
        return [(source, counts[source]) for source in Source if counts[source]]

    @cached_property
    def moves(self) -> list[tuple[str, int]]:
        """(version that runs, how many instances leave it), the most frequent first."""
        return Counter(row.from_version for row in self.moving).most_common()

    @cached_property
    def superseded(self) -> list[tuple[str, int]]:
        """(deploy id, how many of its instances) of the running deploys in the way."""
        return Counter(row.supersedes for row in self.moving if row.supersedes).most_common()

    @cached_property
    def nowhere(self) -> int:
        return sum(row.source == Source.NOWHERE for row in self.moving)

    @property
    def is_possible(self) -> bool:
        return bool(self.version) and bool(self.moving) and not self.nowhere

    @property
    def from_version(self) -> str | None:
        """The one version that all of the moving instances run, or None."""
        return self.moves[0][0] or None if len(self.moves) == 1 else None

    @cached_property
    def digest(self) -> str:
        """Of everything that the reader is shown: it differs as soon as the world has moved."""
        seen = (
            self.service.pk,
            self.version,
            self.package_url,
            [(row.pk, row.from_release, row.source, row.supersedes, row.skip) for row in self.rows],
        )
        return hashlib.sha256(repr(seen).encode()).hexdigest()


@dataclass(kw_only=True)
class _Holders:
    """Unfinished operations by instance."""

    deploys: dict[int, tuple[str, str]] = field(default_factory=dict)
    rollbacks: dict[int, str] = field(default_factory=dict)


def build_plan(
    service: Service, instances: QuerySet[Instance], *, version: str = "", package_url: str = "", undone: str = ""
) -> Plan:
    """The plan for these instances of the service, by a fixed number of queries.

    version '': the last good one. undone: the version of the deploy that is to be undone; it is not offered.
    """
    holders = _holders(service)
    seen = _look(instances, holders)
    offers = offers_for(service, seen, undone)
    chosen = version or next((offer.version for offer in offers if offer.is_last_good), "")
    return Plan(
        service=service,
        version=chosen,
        package_url=package_url,
        rows=_rows(service, seen, holders, chosen, package_url) if chosen else [],
        offers=offers,
    )


def _look(instances: QuerySet[Instance], holders: _Holders) -> list[Seen]:
    rows = instances.order_by("natural_key").values_list(
        "pk", "instance_id", "running_version", "running_release", "release_history"
    )
    pasts: dict[tuple[str, ...], Past] = {}
    seen = []
    for pk, name, version, release, history in rows:
        key = (release, *history)
        past = pasts.get(key)
        if past is None:
            past = pasts[key] = Past(running_release=release, history=tuple(history))
        _deploy, destined = holders.deploys.get(pk, ("", version))
        seen.append(Seen(pk=pk, instance_id=name, running_version=version, destined=destined, past=past))
    return seen


def _holders(service: Service) -> _Holders:
    holders = _Holders()
    targets = Target.objects.filter(
        operation__service=service, operation__finished_at__isnull=True, status__in=ACTIVE
    ).values_list("instance_id", "kind", "operation__public_id", "operation__version")
    for instance, kind, public_id, version in targets:
        if kind == Kind.ROLLBACK:
            holders.rollbacks[instance] = public_id
        else:
            holders.deploys[instance] = (public_id, version)
    return holders


def _source_elsewhere(service: Service, version: str, package_url: str) -> Source:
    """For an instance that no longer has the release: our store, then a download."""
    package = Package.objects.filter(service=service, version=version).first()
    if package is not None and stored(package.sha256) is not None:
        return Source.STORE
    return Source.DOWNLOAD if package is not None or package_url else Source.NOWHERE


def _rows(service: Service, seen: Sequence[Seen], holders: _Holders, version: str, package_url: str) -> list[PlanRow]:
    elsewhere = _source_elsewhere(service, version, package_url)
    pasts = {id(one.past): one.past for one in seen}
    sources = {
        key: Source.NODE if past.has_kept(version, service.keep_releases) else elsewhere for key, past in pasts.items()
    }
    rows = []
    for one in seen:
        held_by = holders.rollbacks.get(one.pk, "")
        rows.append(
            PlanRow(
                pk=one.pk,
                instance_id=one.instance_id,
                from_version=one.running_version,
                from_release=one.past.running_release,
                source=sources[id(one.past)],
                supersedes=holders.deploys[one.pk][0] if one.pk in holders.deploys else "",
                held_by=held_by,
                skip=_skip(one, version, held_by),
            )
        )
    return rows


def _skip(one: Seen, version: str, held_by: str) -> Skip | None:
    if held_by:
        return Skip.ROLLING_BACK
    return Skip.RUNS_IT if one.running_version == version and not one.is_leaving else None
