"""What a claim has to know of its targets, read by one statement and without models: it stands between a request and its work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from inventory.models import JumpHost
from inventory.nodes.transports.jump_address import JumpAddress


class ClaimedRow(NamedTuple):
    """A target with its operation, package, service, instance and node. package_*: None without a package.

    claimed_at: by the database's clock.
    """

    target_pk: int
    fence: int
    attempt: int
    claims: int
    stop_reason: str
    confirm_by: datetime | None
    confirmed_at: datetime | None
    claimed_at: datetime
    operation_pk: int
    kind: str
    until: str
    total: int
    public_id: str
    version: str
    package_url: str
    requested_by_kind: str
    requested_by: str
    confirm_within: int
    package_pk: int | None
    package_sha256: str | None
    package_release: str | None
    service_pk: int
    service_name: str
    restart_command: str
    before_switch_command: str
    command_timeout: int
    keep_releases: int
    mutable_versions: bool
    version_command: str
    version_timeout: int
    instance_pk: int
    instance_id: str
    port: int
    deploy_root: str
    running_version: str
    running_release: str
    running_sha256: str
    release_history: Sequence[str]
    found_release: str
    node_pk: int
    node_name: str
    host: str
    transport: str
    ssh_user: str
    ssh_port: int
    ssh_host_key: str
    jump_pk: int | None
    jump_socket: str
    seen_at: datetime | None
    delivery: str


# In the order of ClaimedRow.
_ROWS = """
SELECT t.id, t.fence, t.attempt, t.claims, t.stop_reason, t.confirm_by, t.confirmed_at, clock_timestamp(),
    o.id, o.kind, o.until, o.total, o.public_id, o.version, o.package_url, o.requested_by_kind, o.requested_by,
    o.confirm_within, p.id, p.sha256, p.release,
    s.id, s.name, s.restart_command, s.before_switch_command, s.command_timeout, s.keep_releases, s.mutable_versions,
    s.version_command, s.version_timeout,
    i.id, i.instance_id, i.port, i.deploy_root, i.running_version, i.running_release, i.running_sha256,
    i.release_history, i.found_release,
    n.id, n.name, n.host, n.transport, n.ssh_user, n.ssh_port, n.ssh_host_key, n.jump_id, n.jump_socket, n.seen_at,
    n.delivery
FROM deploys_target t
JOIN deploys_operation o ON o.id = t.operation_id
JOIN inventory_service s ON s.id = o.service_id
JOIN inventory_instance i ON i.id = t.instance_id
JOIN inventory_node n ON n.id = i.node_id
LEFT JOIN deploys_package p ON p.id = o.package_id
WHERE t.id = ANY(%s) ORDER BY t.id
"""


def read(targets: Collection[int]) -> list[ClaimedRow]:
    """By primary key, in their order."""
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, [list(targets)])
        return [ClaimedRow(*row) for row in cursor.fetchall()]


def jumps_of(rows: Iterable[ClaimedRow]) -> Mapping[int, JumpAddress]:
    """By primary key; no query where no node stands behind one. A chain of more than three costs a query a hop."""
    wanted = {row.jump_pk for row in rows if row.jump_pk is not None}
    hosts = JumpHost.objects.select_related("jump__jump").filter(pk__in=wanted) if wanted else ()
    return {host.pk: JumpAddress.of(host) for host in hosts}
