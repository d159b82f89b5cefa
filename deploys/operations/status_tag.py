"""An operation's ETag without its answer: what was answered before is still so, told by one query that reads no target.

The numbers of the transactions that wrote the rows (`xmin`, and an instance's `shown_xid`, which a trigger keeps) stand for
what these say of the operation, its targets and its instances. The newest `shown_xid` of a service stands for all of its
instances once no transaction is in progress that could still commit an older one; until then there is no such tag, and the
answer's own digest serves. Nor is there one within a transaction that has written itself: all that it writes bears one number.
"""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.db import connection
from django.utils.translation import get_language

from deploys.states import Kind
from inventory.security.access import Access

# The targets of an operation that has ended change together with its row: only an unfinished one's are read.
_SEEN = """
SELECT newest.shown_xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AND NOT s.has_lost_instances
        AND pg_current_xact_id_if_assigned() IS NULL,
    o.xmin::text, s.name, p.url, p.sha256, p.size_bytes, newest.shown_xid, targets.digest
FROM deploys_operation o
JOIN inventory_service s ON s.id = o.service_id
LEFT JOIN deploys_package p ON p.id = o.package_id
CROSS JOIN LATERAL (
    SELECT coalesce(max(i.shown_xid), 0) AS shown_xid FROM inventory_instance i WHERE i.service_id = o.service_id
) newest
CROSS JOIN LATERAL (
    SELECT bit_xor(hashint8extended(t.id, t.xmin::text::bigint)) AS digest FROM deploys_target t
    WHERE t.operation_id = o.id AND t.is_latest AND o.finished_at IS NULL
) targets
WHERE o.kind = %(kind)s AND o.public_id = %(public_id)s
    AND (%(services)s::bigint[] IS NULL OR o.service_id = ANY(%(services)s))
"""


def status_tag(access: Access, kind: Kind, public_id: str) -> str | None:
    """The ETag of the status as it is now, or as it was a moment before; None: there is no telling so cheaply."""
    services = None if access.services is None else list(access.services)
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, {"kind": kind, "public_id": public_id, "services": services})
        row = cursor.fetchone()
    if row is None or not row[0]:
        return None
    said = repr((settings.VERSION, get_language(), kind, public_id, *row[1:]))
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'
