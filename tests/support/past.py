"""A service with many instances and a long past, written straight into the tables."""

from __future__ import annotations

from django.db import connection
from django.utils import timezone

from deploys.models import Operation
from deploys.states import Kind, OperationStatus
from inventory.models import Service

_NODES = """
INSERT INTO inventory_node (name, host, transport, ssh_user, ssh_port, ssh_host_key, created_at)
SELECT %(prefix)s || '-node-' || n, '10.0.' || n / 250 || '.' || n %% 250, 'ssh', 'deploy', 22, 'ssh-ed25519 AAAA', now()
FROM generate_series(1, %(count)s) n
"""
_INSTANCES = """
INSERT INTO inventory_instance (instance_id, service_id, node_id, port, deploy_root, running_version, running_release,
    running_sha256, expected_version, release_history, run_status, health, reported_version, reported_status,
    changed_at, created_at)
SELECT %(prefix)s || '-' || substring(name FROM '[0-9]+$'), %(service)s, id, 8000, '/srv/' || name, 'v1', 'v1',
    repeat('a', 64), 'v1', '{v0,v1}', 'running', 'healthy', '', '', now(), now()
FROM inventory_node WHERE name LIKE %(prefix)s || '-node-%%'
"""
_TARGETS = """
INSERT INTO deploys_target (operation_id, instance_id, kind, attempt, is_latest, status, step, step_seconds,
    error_code, error_message, source, previous_version, stop_reason, claims, started_at, finished_at)
SELECT o.id, i.id, 'deploy', 1, true, 'completed', 'done', '{"stage": 0.1}', '', '', 'download', 'v0', '', 1,
    now(), now()
FROM deploys_operation o JOIN inventory_instance i ON i.service_id = o.service_id
WHERE o.id = ANY(%s) ORDER BY o.id, i.natural_key
"""


def make_instances_at_once(service: Service, count: int) -> None:
    """Each on a node of its own, running v1."""
    values: dict[str, str | int] = {"prefix": service.name, "count": count, "service": service.pk}
    with connection.cursor() as cursor:
        cursor.execute(_NODES, values)
        cursor.execute(_INSTANCES, values)
        cursor.execute("ANALYZE")


def make_past_deploys(service: Service, count: int) -> list[str]:
    """Completed deploys of all the service's instances. Returns their ids."""
    instances = service.instances.count()
    operations = Operation.objects.bulk_create(
        Operation(
            kind=Kind.DEPLOY,
            public_id=f"{service.name}-past-{number}",
            service=service,
            version="v1",
            package_url="http://packages/v1.tar.gz",
            fingerprint="0" * 64,
            status=OperationStatus.COMPLETED,
            total=instances,
            completed=instances,
            requested_by="past",
            requested_by_kind="token",
            finished_at=timezone.now(),
        )
        for number in range(1, count + 1)
    )
    with connection.cursor() as cursor:
        cursor.execute(_TARGETS, [[operation.pk for operation in operations]])
        cursor.execute("ANALYZE")
    return [operation.public_id for operation in operations]
