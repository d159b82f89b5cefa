"""What a deploy would do, before it is asked for: from → to per instance, from where, and what is in the way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Q

from deploys.models import Hold, Package, Target
from deploys.operations.held import active_hold
from deploys.operations.staged import package_on_nodes, staged_on
from deploys.operations.way_back import Past
from deploys.packages.hosts import DEFAULT_PORTS, HostRule, rule_for
from deploys.packages.store import stored
from deploys.states import ACTIVE, Source
from deploys.web.pages.queries.sources import has_kept
from inventory.drift import DRIFTED
from inventory.models import Instance, Service


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A version and where its package comes from. pinned: the package that is known of it, if that is the one meant.

    is_asked: the host of package_url is asked for the bytes, whatever is known of them.
    """

    version: str
    package_url: str
    sha256: str
    signature: str
    pinned: Package | None

    @property
    def is_asked(self) -> bool:
        return self.pinned is None or self.sha256 != self.pinned.sha256

    @classmethod
    def of(cls, asked: Mapping[str, str], *, service: Service, known: Package | None) -> Wanted:
        """asked: the form's words. known: the package that is meant where they name no URL."""
        package = known or Package.objects.filter(service=service, version=asked["version"]).first()
        return cls(
            version=asked["version"],
            package_url=known.url if known else asked["package_url"],
            sha256=known.sha256 if known else asked["sha256"],
            signature=asked["signature"] or (known.signature if known else ""),
            pinned=package,
        )


@dataclass(frozen=True, kw_only=True)
class DeployRow:
    """holder: the unfinished operation that holds the instance, as (kind, public id), or None."""

    pk: int
    instance_id: str
    from_version: str
    source: Source
    is_drifted: bool
    holder: tuple[str, str] | None


@dataclass(frozen=True, kw_only=True)
class DeployPreview:
    """strangers: named ids that the service does not have. With any of these, a busy row or a hold it would be refused."""

    service: Service
    wanted: Wanted
    rows: Sequence[DeployRow]
    strangers: Sequence[str]
    hold: Hold | None

    @property
    def version(self) -> str:
        return self.wanted.version

    @property
    def host(self) -> str:
        return urlsplit(self.wanted.package_url).netloc.rpartition("@")[2]

    @property
    def is_host_refused(self) -> bool:
        """Something has to be downloaded, and may not be."""
        return any(row.source == Source.DOWNLOAD for row in self.rows) and not _is_allowed(self.wanted.package_url)

    @property
    def busy(self) -> list[DeployRow]:
        return [row for row in self.rows if row.holder is not None]

    @cached_property
    def drifted(self) -> int:
        return sum(row.is_drifted for row in self.rows)

    @property
    def moves(self) -> list[tuple[str, int]]:
        """(version that runs, how many instances), the most frequent first."""
        return Counter(row.from_version for row in self.rows).most_common()

    @property
    def sources(self) -> list[tuple[str, int]]:
        counts = Counter(row.source for row in self.rows)
        return [(source, counts[source]) for source in Source if counts[source]]

    @property
    def is_possible(self) -> bool:
        return bool(self.rows) and not (self.strangers or self.busy or self.hold)

    @property
    def digest(self) -> str:
        """Of what the reader was shown."""
        rows = [(row.pk, row.from_version, row.source, row.holder) for row in self.rows]
        seen = (self.service.pk, self.version, self.hold and self.hold.pk, rows)
        return hashlib.sha256(repr(seen).encode()).hexdigest()


def preview(service: Service, wanted: Wanted, *, instance_ids: Sequence[str]) -> DeployPreview:
    found = {
        instance_id: (pk, Past(running_version=version, running_release=release, history=tuple(history)), is_drifted)
        for pk, instance_id, version, release, history, is_drifted in Instance.objects.listed()
        .filter(service=service, instance_id__in=instance_ids)
        .annotate(is_drifted=Q(DRIFTED))
        .values_list("pk", "instance_id", "running_version", "running_release", "release_history", "is_drifted")
    }
    holders = _holders([pk for pk, _past, _drifted in found.values()])
    sources = _sources(service, wanted, {pk: past for pk, past, _drifted in found.values()})
    return DeployPreview(
        service=service,
        wanted=wanted,
        rows=[
            DeployRow(
                pk=pk,
                instance_id=name,
                from_version=past.running_version,
                source=sources[pk],
                is_drifted=is_drifted,
                holder=holders.get(pk),
            )
            for name, (pk, past, is_drifted) in ((name, found[name]) for name in instance_ids if name in found)
        ],
        strangers=[name for name in instance_ids if name not in found],
        hold=active_hold(service),
    )


def _sources(service: Service, wanted: Wanted, pasts: Mapping[int, Past]) -> Mapping[int, Source]:
    """What is staged is taken from the node; else the bytes are looked for in our store, if it is known which are meant."""
    staged = package_on_nodes(
        service, list(pasts), version=wanted.version, sha256=wanted.sha256, signature=wanted.signature
    )
    package = staged or (None if wanted.is_asked else wanted.pinned)
    is_stored = package is not None and stored(package.sha256) is not None
    on_nodes = staged_on(list(pasts), services=[service.pk]) if staged else {}
    sources = {}
    for pk, past in pasts.items():
        if any(staged and each.package_id == staged.pk for each in on_nodes.get(pk, ())):
            sources[pk] = Source.NODE
        elif not is_stored:
            sources[pk] = Source.DOWNLOAD
        else:
            sources[pk] = Source.NODE if has_kept(past, wanted.version, service) else Source.STORE
    return sources


def _holders(instance_pks: Sequence[int]) -> dict[int, tuple[str, str]]:
    targets = Target.objects.filter(instance__in=instance_pks, status__in=ACTIVE)
    rows = targets.values_list("instance_id", "kind", "operation__public_id")
    return {instance: (kind, public_id) for instance, kind, public_id in rows}


def _is_allowed(package_url: str) -> bool:
    """As the download will see it."""
    parts = urlsplit(package_url)
    try:
        rules = [HostRule.parse(entry) for entry in settings.PACKAGE_HOSTS]
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        return rule_for(rules, parts.scheme, parts.hostname or "", port) is not None
    except (ValueError, KeyError):
        return False
