"""What a host's package store keeps: whatever a rollback or a retry may still want."""

from __future__ import annotations

from django.db import connection

from deploys.operations.staged import IS_STAGED_SOMEWHERE
from deploys.packages.store import PackageStore
from inventory.releases import KEPT_SQL

# A service's newest packages, those of the releases that are kept of its instances, those of unfinished
# operations, and those that are staged.
_WANTED = f"""
WITH kept AS MATERIALIZED (
    SELECT DISTINCT i.service_id, {KEPT_SQL} AS releases
    FROM inventory_instance i JOIN inventory_service s ON s.id = i.service_id
    WHERE i.retired_at IS NULL
)
SELECT p.sha256 FROM (
    SELECT id, service_id, release, sha256, row_number() OVER (PARTITION BY service_id ORDER BY id DESC) AS age
    FROM deploys_package
) p JOIN inventory_service s ON s.id = p.service_id
WHERE p.age <= s.keep_releases
    OR EXISTS (SELECT FROM deploys_operation o WHERE o.package_id = p.id AND o.finished_at IS NULL)
    OR {IS_STAGED_SOMEWHERE}
    OR EXISTS (
        SELECT FROM kept WHERE kept.service_id = p.service_id AND p.release = ANY(kept.releases))
"""  # noqa: S608 - only a constant is spliced in


def prune_store() -> int:
    """Remove what nobody will want from this host's store. Returns how many packages went."""
    return PackageStore.of_this_host().prune(wanted())


def wanted() -> set[str]:
    """The digests of the packages to keep."""
    with connection.cursor() as cursor:
        cursor.execute(_WANTED)
        return {row[0] for row in cursor.fetchall()}
