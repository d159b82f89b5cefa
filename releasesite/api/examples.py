"""The design document's own requests and answers, as examples of the OpenAPI document; with the keys that came later."""

from __future__ import annotations

from typing import Any

_PACKAGES = "https://packages.example.com/user-service"
_BEGUN, _AFTER_A_MINUTE = "2024-01-15T10:30:00Z", "2024-01-15T10:31:00Z"


def _target(name: str, status: str, version: str, updated_at: str, **changes: Any) -> dict[str, Any]:
    return {
        "instance_id": name,
        "status": status,
        "version": version,
        "updated_at": updated_at,
        "step": "done",
        "error": None,
        "reverted": None,
        "source": "delta",
        "sent_bytes": 73_250,
        "full_bytes": 2_431_070,
        "attempt": 1,
        **changes,
    }


def _started(kind: str, public_id: str, **keys: Any) -> dict[str, Any]:
    return {f"{kind}_id": public_id, "status": "started", **keys}


REQUESTS: dict[str, dict[str, Any]] = {
    "execute_deploy": {
        "service": "user-service",
        "version": "v1.2.3",
        "instances": ["instance-1", "instance-2", "instance-3"],
        "package_url": f"{_PACKAGES}/v1.2.3.tar.gz",
        "deploy_id": "deploy-12345",
    },
    "roll_back_instance": {
        "instance_id": "instance-1",
        "target_version": "v1.2.2",
        "package_url": f"{_PACKAGES}/v1.2.2.tar.gz",
        "rollback_id": "rollback-67890",
    },
    "roll_back_batch": {
        "service": "user-service",
        "target_version": "v1.2.2",
        "package_url": f"{_PACKAGES}/v1.2.2.tar.gz",
        "instances": ["instance-1", "instance-2"],
        "rollback_id": "rollback-67891",
    },
}
ANSWERS: dict[str, dict[str, Any]] = {
    "execute_deploy": _started("deploy", "deploy-12345", message="deployment started successfully", started_at=_BEGUN),
    "get_deploy_status": {
        "deploy_id": "deploy-12345",
        "service": "user-service",
        "version": "v1.2.3",
        "until": "switched",
        "status": "in_progress",
        "attempt": 1,
        "progress": {"total": 3, "completed": 1, "failed": 0, "pending": 2, "in_progress": 1, "cancelled": 0},
        "instances": [
            _target("instance-1", "completed", "v1.2.3", _AFTER_A_MINUTE),
            _target("instance-2", "in_progress", "v1.2.2", "2024-01-15T10:30:30Z", step="stage"),
            _target("instance-3", "pending", "v1.2.2", _BEGUN, step="queued", source=None),
        ],
        "started_at": _BEGUN,
        "updated_at": _AFTER_A_MINUTE,
        "completed_at": None,
        "package": {"url": f"{_PACKAGES}/v1.2.3.tar.gz", "sha256": "3" * 64, "size": 52_428_800},
        "requested_by": "scheduler",
    },
    "roll_back_instance": _started(
        "rollback",
        "rollback-67890",
        instance_id="instance-1",
        target_version="v1.2.2",
        message="rollback started successfully",
        started_at="2024-01-15T10:55:00Z",
    ),
    "roll_back_batch": _started(
        "rollback",
        "rollback-67891",
        service="user-service",
        target_version="v1.2.2",
        instances=["instance-1", "instance-2"],
        message="batch rollback started successfully",
        started_at="2024-01-15T10:55:00Z",
    ),
    "get_rollback_status": {
        "rollback_id": "rollback-67890",
        "service": "user-service",
        "version": "v1.2.2",
        "target_version": "v1.2.2",
        "until": "switched",
        "status": "completed",
        "attempt": 1,
        "progress": {"total": 1, "completed": 1, "failed": 0, "pending": 0, "in_progress": 0, "cancelled": 0},
        "instances": [_target("instance-1", "completed", "v1.2.2", "2024-01-15T11:00:00Z", source="node")],
        "started_at": "2024-01-15T10:55:00Z",
        "updated_at": "2024-01-15T11:00:00Z",
        "completed_at": "2024-01-15T11:00:00Z",
        "package": {"url": f"{_PACKAGES}/v1.2.2.tar.gz", "sha256": "2" * 64, "size": 52_428_800},
        "requested_by": "scheduler",
    },
    "get_service_versions": {
        "service": "user-service",
        "instances": [
            {"instance_id": "instance-1", "version": "v1.2.3", "status": "running", "last_updated": _AFTER_A_MINUTE},
            {
                "instance_id": "instance-2",
                "version": "v1.2.2",
                "status": "running",
                "last_updated": "2024-01-15T09:15:00Z",
            },
        ],
        "version_summary": {"v1.2.3": 1, "v1.2.2": 1},
    },
    "list_service_instances": {
        "service": "user-service",
        "instances": [
            {
                "instance_id": f"instance-{number}",
                "host": f"192.168.1.1{number - 1}",
                "port": 8080,
                "status": "healthy",
                "version": version,
            }
            for number, version in ((1, "v1.2.3"), (2, "v1.2.2"))
        ],
        "total": 2,
    },
}


def add_examples(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """For drf-spectacular, once the document is made."""
    components = result["components"]["schemas"]
    for path in result["paths"].values():
        for call in path.values():
            name = call["operationId"]
            if name in REQUESTS:
                call["requestBody"]["content"]["application/json"]["example"] = REQUESTS[name]
            if name in ANSWERS:
                status = next(status for status in call["responses"] if status < "300")
                content = call["responses"][status]["content"]["application/json"]
                content["example"] = _with_nulls(ANSWERS[name], content["schema"], components)
    return result


def _with_nulls(example: Any, schema: dict[str, Any], components: dict[str, Any]) -> Any:
    """The example with null for those of the schema's keys that it lacks, where they may be null."""
    schema = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(example, list):
        return [_with_nulls(each, schema["items"], components) for each in example]
    if not isinstance(example, dict):
        return example
    keys = schema.get("properties", {})
    nulls = {key: None for key, value in keys.items() if key not in example and _may_be_null(value)}
    return {key: _with_nulls(value, keys.get(key, {}), components) for key, value in example.items()} | nulls


def _may_be_null(schema: dict[str, Any]) -> bool:
    return "null" in schema.get("type", ()) or any(_may_be_null(each) for each in schema.get("oneOf", ()))
