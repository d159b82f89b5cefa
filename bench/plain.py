"""The same answers by the least that can be done: one SQL query by psycopg, plain dictionaries, orjson."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import psycopg

_STATUS = """
SELECT i.instance_id, t.status, i.running_version, t.updated_at, t.step, t.error_code, t.error_message, t.reverted,
    t.source
FROM deploys_target t JOIN inventory_instance i ON i.id = t.instance_id
JOIN deploys_operation o ON o.id = t.operation_id
WHERE o.kind = 'deploy' AND o.public_id = %s AND t.is_latest ORDER BY i.natural_key
"""
_VERSIONS = """
SELECT i.instance_id, i.running_version, coalesce(t.kind, i.run_status), i.changed_at FROM inventory_instance i
JOIN inventory_service s ON s.id = i.service_id
LEFT JOIN deploys_target t ON t.instance_id = i.id AND t.status IN ('pending', 'in_progress')
WHERE s.name = %s ORDER BY i.natural_key
"""
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


def status(database: psycopg.Connection[Any], deploy_id: str) -> bytes:
    rows = database.execute(_STATUS, [deploy_id]).fetchall()
    instances = [
        {
            "instance_id": instance_id,
            "status": status,
            "version": version or None,
            "updated_at": at,
            "step": step,
            "error": {"code": code, "message": message} if code else None,
            "reverted": reverted,
            "source": source or None,
        }
        for instance_id, status, version, at, step, code, message, reverted, source in rows
    ]
    progress = Counter(row[1] for row in rows)
    return orjson.dumps({"deploy_id": deploy_id, "progress": progress, "instances": instances}, option=_OPTIONS)


def versions(database: psycopg.Connection[Any], service: str) -> bytes:
    rows = database.execute(_VERSIONS, [service]).fetchall()
    instances = [
        {"instance_id": instance_id, "version": version or None, "status": status, "last_updated": at}
        for instance_id, version, status, at in rows
    ]
    summary = Counter(row[1] for row in rows)
    answer = {"service": service, "instances": instances, "version_summary": summary}
    return orjson.dumps(answer, option=_OPTIONS)


def execute(database: psycopg.Connection[Any], service: str, deploy_id: str, names: list[str]) -> bytes:
    """One transaction: the operation and its targets, as bare as the tables allow. Rolled back by the caller."""
    found = database.execute(
        "SELECT i.id FROM inventory_instance i JOIN inventory_service s ON s.id = i.service_id"
        " WHERE s.name = %s AND i.instance_id = ANY(%s) ORDER BY i.id FOR NO KEY UPDATE OF i",
        [service, names],
    ).fetchall()
    operation = database.execute(
        "INSERT INTO deploys_operation (kind, public_id, service_id, version, from_version, package_url,"
        " requested_sha256, package_error_code, package_error_message, fingerprint, message, status, total, completed,"
        " failed, cancelled, superseded, requested_by, requested_by_kind, reason, attempt, log_seq)"
        " SELECT 'deploy', %s, id, 'v2', '', '', '', '', '', '', '', 'pending', %s, 0, 0, 0, 0, '', 'token', '', 1, 0"
        " FROM inventory_service WHERE name = %s RETURNING id, started_at",
        [deploy_id, len(found), service],
    ).fetchone()
    assert operation is not None
    database.execute(
        "INSERT INTO deploys_target (operation_id, instance_id, kind, attempt, is_latest, status, step, step_seconds,"
        " error_code, error_message, source, previous_version, stop_reason, claims)"
        " SELECT %s, unnest(%s::bigint[]), 'deploy', 1, true, 'pending', 'queued', '{}', '', '', '', '', '', 0",
        [operation[0], [row[0] for row in found]],
    )
    return orjson.dumps({"deploy_id": deploy_id, "status": "started", "started_at": operation[1]}, option=_OPTIONS)
