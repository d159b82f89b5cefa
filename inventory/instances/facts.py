"""The one writer of what an instance runs (`COLUMNS`), and of the StatusChange rows that tell of every change.

In batches, by two statements however many rows there are: a worker's transaction may hold thousands.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from inventory.actors import Actor
from inventory.drift import Drift
from inventory.instances import drift, in_progress
from inventory.instances.locks import lock_instances
from inventory.models import Instance, StatusChange

COLUMNS = (
    "running_version",
    "running_release",
    "running_sha256",
    "expected_version",
    "process_version",
    "run_status",
    "health",
    "release_history",
    "found_release",
    "found_current",
)
_AT_ONCE = 5_000
_HISTORY_LENGTH = 50


@dataclass(frozen=True, kw_only=True)
class Found:
    """What stood there that we did not install: a release that ran, or where `current` led else.

    It counts until our first switch.
    """

    release: str = ""
    elsewhere: str = ""


NOTHING_FOUND = Found()


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What is so of an instance from now on. None leaves a value as it is.

    version: also sets release ('' or None: the version's own name) and sha256 (None: not known). is_expected: it is
    what should run, too. process: what the version command said; '' for nothing, and when another process may run now.
    history: 'push' for a release that a deploy switched to successfully, 'pop' for one that was rolled back to, 'forget'
    to empty it.
    """

    version: str | None = None
    release: str | None = None
    sha256: str | None = None
    process: str | None = None
    run_status: str | None = None
    health: str | None = None
    is_expected: bool = False
    history: str = ""
    found: Found = NOTHING_FOUND


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The operation that a change is part of; operation_id is its primary key."""

    operation_id: int
    operation_name: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of one instance (its primary key): `effect`; or of a target on it: `target`, its (old, new) status."""

    instance_id: int
    actor: Actor
    note: str = ""
    cause: Cause | None = None
    effect: Effect | None = None
    target: tuple[str, str] | None = None


def database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row: tuple[datetime] = cursor.fetchone()
    return row[0]


def lock_settled(pks: Iterable[int], *, since: datetime) -> dict[int, Instance]:
    """Locks these instances, and returns those that no operation works on, or has since then; none can start before the commit.

    Retired ones are left out. since: when what is to be written was begun to be read; it may be older than such an
    operation's switch.
    """
    wanted = list(pks)
    lock_instances(wanted)
    locked = Instance.objects.listed().in_bulk(wanted)
    held = in_progress.operations.holders(instances=locked)
    settled = {pk: instance for pk, instance in locked.items() if pk not in held or not held[pk].has_begun}
    for pk in in_progress.operations.ended_since(settled, since):
        del settled[pk]
    return settled


def record(changes: Sequence[Change]) -> None:
    """Write these changes in their order, with a StatusChange row for each value that became another.

    The caller has locked the instances that there is an effect on. An error takes the caller's transaction with it.
    """
    with transaction.atomic(savepoint=False):
        for start in range(0, len(changes), _AT_ONCE):
            _record(changes[start : start + _AT_ONCE])


def _record(changes: Sequence[Change]) -> None:
    rows = _read({change.instance_id for change in changes if change.effect is not None})
    drifts_before = {pk: _drift(row) for pk, row in rows.items()}
    touched: dict[int, dict[str, Any]] = {}
    told: list[dict[str, Any]] = []
    for change in changes:
        if change.target is not None:
            told.append(_row(change, StatusChange.Field.TARGET, *change.target))
        if change.effect is None:
            continue
        row = rows[change.instance_id]
        before = None if change.cause else dict(row)
        told += [_row(change, *difference) for difference in _apply(change.effect, row)]
        # An operation has worked on it, even if it brought what was there.
        if row != before:
            touched[change.instance_id] = row
    _update(touched.values())
    _insert(told)
    drifted = [pk for pk, row in touched.items() if _drift(row) and _drift(row) != drifts_before[pk]]
    if drifted:
        drift.listener.drifted(drifted)


def _drift(row: dict[str, Any]) -> tuple[Drift, str, str] | None:
    """How what runs differs from what should, and both."""
    expected, running, process = row["expected_version"], row["running_version"], row["process_version"]
    match Drift.of(running=running, expected=expected, process=process):
        case Drift.LINK:
            return Drift.LINK, expected, running
        case Drift.PROCESS:
            return Drift.PROCESS, running, process
        case _:
            return None


_READ = f"SELECT id, {', '.join(COLUMNS)} FROM inventory_instance WHERE id = ANY(%s)"  # noqa: S608 - a constant


def _read(pks: Collection[int]) -> dict[int, dict[str, Any]]:
    if not pks:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_READ, [list(pks)])
        return {row[0]: dict(zip(("id", *COLUMNS), row, strict=True)) for row in cursor.fetchall()}


def _apply(effect: Effect, row: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Change the row; yield (field, old, new) for what is told of it."""
    _note_found(effect, row)
    if effect.version is not None:
        yield from _set(row, "running_version", StatusChange.Field.VERSION, effect.version)
        row["running_release"] = effect.release or effect.version
        row["running_sha256"] = effect.sha256 or ""
        if effect.is_expected:
            row["expected_version"] = effect.version
    yield from _set(row, "process_version", StatusChange.Field.PROCESS, effect.process)
    yield from _set(row, "run_status", StatusChange.Field.RUN_STATUS, effect.run_status)
    yield from _set(row, "health", StatusChange.Field.HEALTH, effect.health)
    row["release_history"] = _history_after(row["release_history"], effect.history, row["running_release"])


def _note_found(effect: Effect, row: dict[str, Any]) -> None:
    """What ran before our first switch is the version before."""
    if effect.history == "forget":
        row["found_release"] = row["found_current"] = ""
    if row["expected_version"] or row["release_history"] not in ([], [row["found_release"]]):
        return
    row["found_current"] = effect.found.elsewhere or row["found_current"]
    if effect.found.release:
        row["found_release"] = effect.found.release
        row["release_history"] = [effect.found.release]


def _set(row: dict[str, Any], column: str, field: str, new: str | None) -> Iterator[tuple[str, str, str]]:
    old = row[column]
    if new is not None and new != old:
        row[column] = new
        yield field, old, new


def _history_after(history: list[str], change: str, release: str) -> list[str]:
    """A deploy pushes its release; a rollback goes back to where its release stands, or pushes an unknown one."""
    if change == "forget":
        return []
    if not change or (history and history[-1] == release):
        return history
    if change == "pop" and release in history:
        at = len(history) - 1 - history[::-1].index(release)
        return history[: at + 1]
    return [*history, release][-_HISTORY_LENGTH:]


_UPDATE = """
UPDATE inventory_instance i SET
    running_version = v.running_version, running_release = v.running_release, running_sha256 = v.running_sha256,
    found_release = v.found_release,
    found_current = v.found_current, expected_version = v.expected_version, process_version = v.process_version,
    run_status = v.run_status, health = v.health,
    release_history = ARRAY(SELECT jsonb_array_elements_text(v.release_history)), changed_at = clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb) AS v(
    id bigint, running_version text, running_release text, running_sha256 text, expected_version text,
    process_version text, run_status text, health text, release_history jsonb, found_release text, found_current text)
WHERE i.id = v.id
"""


def _update(rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    if not listed:
        return
    with connection.cursor() as cursor:
        cursor.execute(_UPDATE, [json.dumps(listed)])


def _row(change: Change, field: str, old: str, new: str) -> dict[str, Any]:
    cause = change.cause
    return {
        "instance_id": change.instance_id,
        "field": field,
        "old": old,
        "new": new,
        "operation_id": cause.operation_id if cause else None,
        "operation_name": cause.operation_name if cause else "",
        "attempt": cause.attempt if cause else 1,
        "actor_kind": change.actor.kind,
        "actor_name": change.actor.name,
        "note": change.note,
    }


_INSERT = """
INSERT INTO inventory_statuschange (instance_id, field, old, new, at, operation_id, operation_name, attempt,
    actor_kind, actor_name, note)
SELECT v.instance_id, v.field, v.old, v.new, clock_timestamp(), v.operation_id, v.operation_name, v.attempt,
    v.actor_kind, v.actor_name, v.note
FROM jsonb_to_recordset(%s::jsonb) AS v(
    instance_id bigint, field text, old text, new text, operation_id bigint, operation_name text, attempt integer,
    actor_kind text, actor_name text, note text)
"""


def _insert(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [json.dumps(rows)])
