"""The answers' keys that this client reads. An answer is handed on as it came, with whatever else it holds."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Kind = Literal["deploy", "rollback"]
Document = dict[str, Any]


class ApiError(TypedDict):
    code: str
    detail: str
    attr: NotRequired[str | None]
    instance_id: NotRequired[str]
    operation: NotRequired[str]
    step: NotRequired[str]
    age_seconds: NotRequired[int]


class TargetError(TypedDict):
    code: str
    message: str


class Target(TypedDict):
    instance_id: str
    status: Literal["pending", "in_progress", "completed", "failed", "cancelled", "superseded"]
    version: str | None
    updated_at: str
    step: str
    error: TargetError | None
    reverted: bool | None
    source: str | None
    sent_bytes: NotRequired[int | None]
    full_bytes: NotRequired[int | None]
    confirm_by: NotRequired[str | None]


class Progress(TypedDict):
    total: int
    completed: int
    failed: int
    pending: int
    in_progress: int
    cancelled: int


class Operation(TypedDict):
    """A deploy or a rollback, as its status call answers."""

    deploy_id: NotRequired[str]
    rollback_id: NotRequired[str]
    service: str
    version: str
    attempt: int
    status: Literal["pending", "in_progress", "completed", "failed", "cancelled"]
    progress: Progress
    instances: list[Target]
    started_at: str
    updated_at: str
    completed_at: str | None
    requested_by: str


class StartedDeploy(TypedDict):
    deploy_id: str
    status: Literal["started"]
    message: str
    started_at: str


class StartedRollback(TypedDict):
    """instance_id: of a rollback of one instance. service, instances: of a batch."""

    rollback_id: str
    instance_id: NotRequired[str]
    service: NotRequired[str]
    instances: NotRequired[list[str]]
    target_version: str
    status: Literal["started"]
    message: str
    started_at: str


class Changed(TypedDict):
    """What a cancel, a retry or a confirm did."""

    deploy_id: NotRequired[str]
    rollback_id: NotRequired[str]
    status: str
    message: str
    instances: list[str]


class LogLine(TypedDict):
    cursor: str
    at: str
    instance_id: str | None
    step: str | None
    stream: str
    text: str


class RunningVersion(TypedDict):
    instance_id: str
    version: str | None
    status: str
    last_updated: str
    expected_version: NotRequired[str | None]
    process_version: NotRequired[str | None]
    drift: NotRequired[str | None]


class Versions(TypedDict):
    service: str
    instances: list[RunningVersion]
    version_summary: dict[str, int]


class Instance(TypedDict):
    instance_id: str
    host: str
    port: int
    status: str
    version: str | None
    drift: NotRequired[str | None]


class Instances(TypedDict):
    service: str
    instances: list[Instance]
    total: int


class Hold(TypedDict):
    service: str
    held: bool
    reason: str | None
    held_by: str | None
    held_at: str | None
    until: str | None


class Counts(TypedDict):
    created: int
    updated: int
    unchanged: int


class Synced(TypedDict):
    service: str
    status: str
    message: str
