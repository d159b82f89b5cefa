"""Answers as text for people."""

from __future__ import annotations

from release_client.answers import Hold, Instances, Kind, LogLine, Operation, Target, Versions
from release_client.cli.screen import columns


def full_text(kind: Kind, operation_id: str, operation: Operation) -> str:
    """Failed instances last, where the eye is when the text has run through."""
    targets = sorted(operation["instances"], key=lambda target: target["status"] == "failed")
    times = f"started {operation['started_at']} by {operation['requested_by']}"
    if operation["completed_at"]:
        times += f", ended {operation['completed_at']}"
    faults = [fault_of(target) for target in targets if target["error"]]
    head = f"{kind} {operation_id}: {operation['service']} {operation['version']}: {operation['status']}"
    return "\n".join([head, times, columns([_row(target) for target in targets]), *faults])


def _row(target: Target) -> list[str]:
    under_way = target["step"] if target["status"] in ("in_progress", "failed") else ""
    return [
        f"  {target['instance_id']}",
        target["status"],
        under_way,
        f"runs {target['version'] or 'nothing known'}",
        _source(target),
    ]


def _source(target: Target) -> str:
    """And what only a part was sent of."""
    if target["source"] == "delta":
        return f"from delta: {target.get('sent_bytes')} of {target.get('full_bytes')} bytes sent"
    return f"from {target['source']}" if target["source"] else ""


def fault_of(target: Target) -> str:
    error = target["error"] or {"code": "", "message": "no error is told"}
    code = f" [{error['code']}]" if error["code"] else ""
    back = {True: " It went back.", None: ""}.get(target["reverted"], " It did not go back.")
    return f"{target['instance_id']} {target['status']} in step {target['step']}: {error['message']}{code}{back}"


def log_text(line: LogLine) -> str:
    where = " ".join(filter(None, [line["instance_id"], line["step"]])) or "-"
    return f"{line['at']} {where} {line['stream']}: {line['text']}"


def versions_text(versions: Versions) -> str:
    rows = [["instance", "version", "status", "drift", "since"]]
    for each in versions["instances"]:
        rows.append([each["instance_id"], each["version"] or "-", each["status"], _drift(each), each["last_updated"]])
    summary = ", ".join(f"{version}: {count}" for version, count in versions["version_summary"].items())
    return "\n".join([columns(rows), f"{versions['service']}: {summary or 'no instance'}"])


def _drift(running: object) -> str:
    """link: the link leads elsewhere; process: another version runs."""
    values: dict[str, str | None] = running  # type: ignore[assignment]
    drift = values.get("drift")
    match drift:
        case "process":
            return f"process runs {values.get('process_version') or 'something unknown'}"
        case "link":
            return f"link, expected {values.get('expected_version') or 'nothing'}"
    return str(drift) if drift else "-"


def instances_text(instances: Instances) -> str:
    rows = [["instance", "host", "port", "health", "version"]]
    for each in instances["instances"]:
        rows.append([each["instance_id"], each["host"], str(each["port"]), each["status"], each["version"] or "-"])
    return "\n".join([columns(rows), f"{instances['service']}: {instances['total']} instances"])


def hold_text(hold: Hold) -> str:
    if not hold["held"]:
        return f"{hold['service']} is not held: deploys may begin."
    until = f" until {hold['until']}" if hold["until"] else " until it is released (release unhold)"
    return f"{hold['service']} is held by {hold['held_by']} since {hold['held_at']}{until}: {hold['reason']}"
