"""What a rollback would do, before anything happens: from → to per instance, from where, and what is in the way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from django.db.models import QuerySet

from deploys.models import Package, Target
from deploys.operations.version_ages import is_newer, version_ages
from deploys.operations.way_back import Past, unfinished_deploys
from deploys.states import ACTIVE, Kind, Source
from deploys.web.pages.queries.sources import has_kept, source_elsewhere
from inventory.models import Instance, Service
from rollbacks.offers import Offer, Seen, offers_for


class Skip(StrEnum):
    """Why an instance is left out of a rollback."""

    RUNS_IT = "runs_it"
    ROLLING_BACK = "rolling_back"


class PlanRow(NamedTuple):
    """One instance; a tuple, because ten thousand are made at once.

    supersedes: the running deploy that would be superseded; held_by: the rollback that it is in. is_found: what it goes
    back to was installed by another tool.
    """

    pk: int
    instance_id: str
    from_version: str
    from_release: str
    source: Source
    supersedes: str = ""
    held_by: str = ""
    skip: Skip | None = None
    is_found: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """rows: every instance meant, in natural order, the skipped ones too."""

    service: Service
    version: str
    package_url: str
    rows: Sequence[PlanRow]
    offers: Sequence[Offer]
    ages: Mapping[str, int]

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
    def only_stops(self) -> bool:
        """Each instance that it is about runs the version by what is known, and a deploy is to take it away."""
        return bool(self.moving) and all(row.supersedes and row.from_version == self.version for row in self.moving)

    @cached_property
    def nowhere(self) -> int:
        return sum(row.source == Source.NOWHERE for row in self.moving)

    @property
    def is_possible(self) -> bool:
        return bool(self.version) and bool(self.moving) and not self.nowhere

    @property
    def is_forward(self) -> bool:
        """The version is newer than what any of the moving instances runs."""
        return bool(self.moves) and all(
            is_newer(self.version, than=runs, ages=self.ages) for runs, _count in self.moves
        )

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


def build_plan(
    service: Service, instances: QuerySet[Instance], *, version: str = "", package_url: str = "", undone: str = ""
) -> Plan:
    """The plan for these instances of the service, by a fixed number of queries.

    version '': the last good one. undone: the version of the deploy that is to be undone; it is not offered.
    """
    seen = _look(service, instances)
    ages = version_ages(service)
    offers = offers_for(service, instances, seen, undone=undone, ages=ages)
    chosen = version or next((offer.version for offer in offers if offer.is_last_good), "")
    return Plan(
        service=service,
        version=chosen,
        package_url=package_url,
        rows=_rows(service, seen, chosen, package_url) if chosen else [],
        offers=offers,
        ages=ages,
    )


def _look(service: Service, instances: QuerySet[Instance]) -> list[Seen]:
    deploys = unfinished_deploys(service=service)
    rows = instances.order_by("natural_key").values_list(
        "pk", "instance_id", "running_version", "running_release", "release_history", "found_release", "process_version"
    )
    pasts: dict[tuple[str, ...], Past] = {}
    seen = []
    for pk, name, version, release, history, found, process in rows:
        key = (version, release, *history)
        past = pasts.get(key)
        if past is None:
            past = Past(running_version=version, running_release=release, history=tuple(history))
            pasts[key] = past
        seen.append(Seen(pk=pk, instance_id=name, past=past, deploy=deploys.get(pk), found=found, process=process))
    return seen


def _rollbacks(service: Service) -> dict[int, str]:
    """The unfinished rollback by instance."""
    targets = Target.objects.filter(
        operation__service=service, operation__finished_at=None, kind=Kind.ROLLBACK, status__in=ACTIVE
    )
    return dict(targets.values_list("instance_id", "operation__public_id"))


def _rows(service: Service, seen: Sequence[Seen], version: str, package_url: str) -> list[PlanRow]:
    package = Package.objects.filter(service=service, version=version).first()
    elsewhere = source_elsewhere(package, package_url)
    rollbacks = _rollbacks(service)
    pasts = {id(one.past): one.past for one in seen}
    sources = {key: Source.NODE if has_kept(past, version, service) else elsewhere for key, past in pasts.items()}
    rows = []
    for one in seen:
        held_by = rollbacks.get(one.pk, "")
        rows.append(
            PlanRow(
                pk=one.pk,
                instance_id=one.instance_id,
                from_version=one.past.running_version,
                from_release=one.past.running_release,
                source=Source.NODE if one.found == version else sources[id(one.past)],
                is_found=one.found == version,
                supersedes=one.deploy.public_id if one.deploy else "",
                held_by=held_by,
                skip=_skip(one, version, held_by),
            )
        )
    return rows


def _skip(one: Seen, version: str, held_by: str) -> Skip | None:
    """One that runs the version is left alone, unless a deploy is unfinished on it: that is superseded, whatever it brings."""
    if held_by:
        return Skip.ROLLING_BACK
    runs_it = one.past.running_version == version and one.process in ("", version)
    return Skip.RUNS_IT if runs_it and one.deploy is None else None
