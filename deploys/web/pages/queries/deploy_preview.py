"""What a deploy would do, before it is asked for: from → to per instance, and what is in the way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from deploys.models import Hold, Package, Target
from deploys.operations.held import active_hold
from deploys.packages.hosts import DEFAULT_PORTS, HostRule, rule_for
from deploys.states import ACTIVE
from inventory.models import Instance, Service


@dataclass(frozen=True, kw_only=True)
class DeployRow:
    """holder: the unfinished operation that holds the instance, as (kind, public id), or None."""

    pk: int
    instance_id: str
    from_version: str
    holder: tuple[str, str] | None


@dataclass(frozen=True, kw_only=True)
class DeployPreview:
    """strangers: named ids that the service does not have. With any of these, a busy row or a hold it would be refused."""

    service: Service
    version: str
    rows: Sequence[DeployRow]
    strangers: Sequence[str]
    host: str
    is_host_allowed: bool
    pinned: Package | None
    hold: Hold | None

    @property
    def busy(self) -> list[DeployRow]:
        return [row for row in self.rows if row.holder is not None]

    @property
    def moves(self) -> list[tuple[str, int]]:
        """(version that runs, how many instances), the most frequent first."""
        return Counter(row.from_version for row in self.rows).most_common()

    @property
    def is_possible(self) -> bool:
        return bool(self.rows) and not (self.strangers or self.busy or self.hold)

    @property
    def digest(self) -> str:
        """Of what the reader was shown."""
        rows = [(row.pk, row.from_version, row.holder) for row in self.rows]
        seen = (self.service.pk, self.version, self.hold and self.hold.pk, rows)
        return hashlib.sha256(repr(seen).encode()).hexdigest()


def preview(service: Service, *, version: str, package_url: str, instance_ids: Sequence[str]) -> DeployPreview:
    found = {
        instance_id: (pk, running)
        for pk, instance_id, running in Instance.objects.listed()
        .filter(service=service, instance_id__in=instance_ids)
        .values_list("pk", "instance_id", "running_version")
    }
    holders = _holders([pk for pk, _running in found.values()])
    host = urlsplit(package_url).netloc.rpartition("@")[2]
    return DeployPreview(
        service=service,
        version=version,
        rows=[
            DeployRow(
                pk=found[name][0], instance_id=name, from_version=found[name][1], holder=holders.get(found[name][0])
            )
            for name in instance_ids
            if name in found
        ],
        strangers=[name for name in instance_ids if name not in found],
        host=host,
        is_host_allowed=_is_allowed(package_url),
        pinned=service.packages.filter(version=version).first(),
        hold=active_hold(service),
    )


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
