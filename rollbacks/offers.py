"""The versions that a rollback may be offered to go to: back, or forward again to one that it left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Max, QuerySet

from deploys.models import Operation, Package, Target
from deploys.operations.version_ages import is_newer
from deploys.operations.way_back import Past, UnfinishedDeploy, version_before
from deploys.states import OperationStatus, TargetStatus, Until
from inventory.models import Instance, Service
from inventory.releases import version_of

_OFFERS = 8


_HISTORY_LOOKED_AT = 12


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A version to go to: it succeeded here, is available, and is not what all of the instances run.

    ran_on: how many of the instances have run it successfully. last_good: what most of them ran just before. is_newer: than
    what any of them runs.
    """

    version: str
    ran_on: int
    is_last_good: bool
    is_newer: bool
    succeeded_at: datetime | None


class Seen(NamedTuple):
    """An instance as far as a plan needs it, and the deploy that is unfinished on it.

    found: the release that another tool had installed there. process: the version that the process names, '' when not known.
    """

    pk: int
    instance_id: str
    past: Past
    deploy: UnfinishedDeploy | None
    found: str = ""
    process: str = ""

    @property
    def destined(self) -> str:
        """The version that it will run if nobody does anything."""
        return self.deploy.version if self.deploy and self.deploy.switches else self.past.running_version


def offers_for(
    service: Service, instances: QuerySet[Instance], seen: Sequence[Seen], *, undone: str, ages: Mapping[str, int]
) -> list[Offer]:
    ran: Counter[str] = Counter()
    before: Counter[str] = Counter()
    pasts = {id(one.past): one.past for one in seen}
    for (key, deploy), count in Counter((id(one.past), one.deploy) for one in seen).items():
        back_to = version_before(pasts[key], deploy)
        before[back_to] += count
        for version in {back_to, *_versions(pasts[key])}:
            ran[version] += count
    ran.update(_left(service, instances, known=ran.keys()))
    destined = {one.destined for one in seen}
    # What a deploy brings that ran before it, too, is where its instances go back to.
    for version in {"", undone, *(destined if len(destined) == 1 else ())} - (before.keys() - {""}):
        ran.pop(version, None)
    del before[""]
    succeeded_at = _succeeded(service, list(ran))
    last_good = before.most_common(1)[0][0] if before else ""
    offers = [
        Offer(
            version=version,
            ran_on=count,
            is_last_good=version == last_good,
            is_newer=all(is_newer(version, than=one.running_version, ages=ages) for one in pasts.values()),
            succeeded_at=succeeded_at.get(version),
        )
        for version, count in ran.items()
    ]
    return sorted(offers, key=_offer_order)[:_OFFERS]


def _left(service: Service, instances: QuerySet[Instance], *, known: Collection[str]) -> Mapping[str, int]:
    """Of the newest packages, those that these instances ran and whose release a rollback took off their history."""
    newest = Package.objects.filter(service=service).order_by("-pk").values_list("version", flat=True)[:_OFFERS]
    versions = set(newest) - set(known)
    if not versions:
        return {}
    targets = Target.objects.filter(
        operation__service=service,
        operation__version__in=versions,
        operation__until=Until.SWITCHED,
        status=TargetStatus.COMPLETED,
        instance__in=instances.order_by().values("pk"),
    )
    return dict(targets.order_by().values_list("operation__version").annotate(count=Count("instance", distinct=True)))


def _versions(past: Past) -> set[str]:
    releases = (*past.earlier[:_HISTORY_LOOKED_AT], past.running_release)
    return {version_of(release) for release in releases if release}


def _offer_order(offer: Offer) -> tuple[bool, float, int, str]:
    """The last good one, then those that succeeded most recently."""
    at = offer.succeeded_at.timestamp() if offer.succeeded_at else 0.0
    return not offer.is_last_good, -at, -offer.ran_on, offer.version


def _succeeded(service: Service, versions: Sequence[str]) -> Mapping[str, datetime]:
    completed = Operation.objects.filter(
        service=service, version__in=versions, status=OperationStatus.COMPLETED, until=Until.SWITCHED
    )
    return dict(completed.order_by().values_list("version").annotate(at=Max("finished_at")))
