"""Releases that stand staged on instances: brought by `until: staged`, not run since, and within the service's `staged_days`.

They are kept like those that ran (`inventory.releases`), on the node and in the store; a deploy of one takes it from the
node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from django.db import connection

from deploys.models import Package
from inventory.models import Service
from inventory.signing_keys import verify_signature

# Of a target `t` of operation `o` of service `s`. For a statement's WHERE, with nothing of the statement's own in it.
_IS_RECENT = "{at} > clock_timestamp() - make_interval(days => s.staged_days)"
# An operation `o` of a service `s` whose releases are still kept where it staged them.
IS_RECENTLY_STAGED = f"(o.until = 'staged' AND {_IS_RECENT.format(at='o.finished_at')})"
# The digest of a package `p` of a service `s` that some operation has staged of late.
IS_STAGED_SOMEWHERE = f"""
EXISTS (
    SELECT FROM deploys_operation o
    WHERE o.package_id = p.id AND {IS_RECENTLY_STAGED})
"""

_STAGED = f"""
SELECT t.instance_id, p.id, p.release
FROM deploys_operation o
JOIN inventory_service s ON s.id = o.service_id
JOIN deploys_package p ON p.id = o.package_id
JOIN deploys_target t ON t.operation_id = o.id
WHERE o.until = 'staged' AND o.service_id = ANY(%(services)s)
    AND (o.finished_at IS NULL OR {_IS_RECENT.format(at="o.finished_at")})
    AND t.instance_id = ANY(%(instances)s) AND t.is_latest AND t.status = 'completed'
    AND {_IS_RECENT.format(at="t.finished_at")}
    AND NOT EXISTS (
        SELECT FROM deploys_target since JOIN deploys_operation run ON run.id = since.operation_id
        WHERE since.instance_id = t.instance_id AND since.id > t.id AND since.status = 'completed'
            AND run.until = 'switched' AND run.package_id = o.package_id)
ORDER BY t.id
"""  # noqa: S608 - only constants are spliced in


class Staged(NamedTuple):
    """A package, by its key, and the folder that it stands in on the node."""

    package_id: int
    release: str


def staged_on(instances: Collection[int], *, services: Collection[int]) -> Mapping[int, list[Staged]]:
    """By instance, of these (primary keys), which are of these services; the oldest first."""
    found: dict[int, list[Staged]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_STAGED, {"instances": list(instances), "services": list(services)})
        for instance, package_id, release in cursor.fetchall():
            found.setdefault(instance, []).append(Staged(package_id, release))
    return found


def package_on_nodes(
    service: Service, instances: Collection[int], *, version: str, sha256: str, signature: str
) -> Package | None:
    """The version's package, if a deploy to these instances finds it staged on any of them and need ask no host for it.

    Where a version may come again with other bytes, only its digest says which are meant. Where packages have to be signed,
    it is signed by the present key.
    """
    if service.mutable_versions and not sha256:
        return None
    staged = staged_on(instances, services=[service.pk])
    known = {each.package_id for some in staged.values() for each in some}
    packages = Package.objects.filter(pk__in=known, version=version)
    package = packages.filter(sha256=sha256).first() if sha256 else packages.first()
    if package is None or not service.signing_key:
        return package
    is_signed = verify_signature(
        package.sha256, public_key=service.signing_key, signature=signature or package.signature
    )
    return package if is_signed else None
