"""The versions that a rollback may be offered to go back to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from django.db.models import Max

from deploys.models import Operation
from deploys.states import OperationStatus
from inventory.models import Service

_OFFERS = 8


_HISTORY_LOOKED_AT = 12


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A version to go back to: it succeeded here, can be had, and is not what all of the instances run.

    ran_on: how many of the instances have run it soundly. last_good: what most of them ran just before.
    """

    version: str
    ran_on: int
    is_last_good: bool
    succeeded_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Past:
    """What instances have soundly run; most of a service's share one, so that it is looked into once for all of them."""

    running_release: str
    history: tuple[str, ...]

    @cached_property
    def earlier(self) -> list[str]:
        """Releases other than the running one, the latest first, each once."""
        return list(dict.fromkeys(release for release in reversed(self.history) if release != self.running_release))

    @cached_property
    def versions(self) -> frozenset[str]:
        releases = (*self.earlier[:_HISTORY_LOOKED_AT], self.running_release)
        return frozenset(version_of(release) for release in releases if release)

    def has_kept(self, version: str, keep: int) -> bool:
        """A node keeps the running release and the newest sound ones, keep_releases in all and the previous one always."""
        kept = {self.running_release, *self.earlier[: max(1, keep - 1)]}
        return any(version_of(release) == version for release in kept if release)


class Seen(NamedTuple):
    """An instance as far as a plan needs it. destined: the version it will run if nobody does anything."""

    pk: int
    instance_id: str
    running_version: str
    destined: str
    past: Past

    @property
    def is_leaving(self) -> bool:
        """An unfinished deploy is about to take the instance away from what it runs."""
        return self.destined != self.running_version


def offers_for(service: Service, seen: Sequence[Seen], undone: str) -> list[Offer]:
    ran: Counter[str] = Counter()
    before: Counter[str] = Counter()
    alike = Counter((id(one.past), one.is_leaving) for one in seen)
    pasts = {id(one.past): one.past for one in seen}
    for (key, is_leaving), count in alike.items():
        past = pasts[key]
        for version in past.versions:
            ran[version] += count
        if is_leaving and past.running_release:
            before[version_of(past.running_release)] += count  # what it runs still is what it goes back to
        elif past.earlier:
            before[version_of(past.earlier[0])] += count
    destined = {one.destined for one in seen}
    for version in {undone, *(destined if len(destined) == 1 else ())}:
        ran.pop(version, None)
        before.pop(version, None)
    succeeded_at = _succeeded(service, list(ran))
    last_good = before.most_common(1)[0][0] if before else ""
    offers = [
        Offer(version=version, ran_on=count, is_last_good=version == last_good, succeeded_at=succeeded_at.get(version))
        for version, count in ran.items()
    ]
    return sorted(offers, key=_offer_order)[:_OFFERS]


def _offer_order(offer: Offer) -> tuple[bool, float, int, str]:
    """The last good one, then those that succeeded most lately."""
    at = offer.succeeded_at.timestamp() if offer.succeeded_at else 0.0
    return not offer.is_last_good, -at, -offer.ran_on, offer.version


def _succeeded(service: Service, versions: Sequence[str]) -> Mapping[str, datetime]:
    completed = Operation.objects.filter(service=service, version__in=versions, status=OperationStatus.COMPLETED)
    return dict(completed.order_by().values_list("version").annotate(at=Max("finished_at")))


def version_of(release: str) -> str:
    """A release folder's version: further bytes of a mutable version stand in `<version>@<digest>`."""
    return release.partition("@")[0]
