"""What a host's package store keeps: whatever a rollback or a retry may still want."""

from __future__ import annotations

from django.db import connection

from deploys.packages.store import PackageStore

# A service's newest packages, those that its instances ran soundly, and those of unfinished operations.
_WANTED = """
SELECT p.sha256 FROM (
    SELECT id, service_id, release, sha256, row_number() OVER (PARTITION BY service_id ORDER BY id DESC) AS age
    FROM deploys_package
) p JOIN inventory_service s ON s.id = p.service_id
WHERE p.age <= s.keep_releases
    OR EXISTS (SELECT FROM deploys_operation o WHERE o.package_id = p.id AND o.finished_at IS NULL)
    OR EXISTS (
        SELECT FROM inventory_instance i WHERE i.service_id = p.service_id AND p.release = ANY(
            i.release_history[greatest(1, cardinality(i.release_history) - s.keep_releases + 1):]))
"""


def prune_store() -> int:
    """Remove what nobody will want from this host's store. Returns how many packages went."""
    with connection.cursor() as cursor:
        cursor.execute(_WANTED)
        wanted = {row[0] for row in cursor.fetchall()}
    return PackageStore.of_this_host().prune(wanted)
