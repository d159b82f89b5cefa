"""The audit: who did what to what, from which address. Append-only and hash-chained (migration `audit_chain`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from inventory.actors import Actor
from inventory.models import AuditEntry
from inventory.security.redaction import scrub

_BATCH = 2000


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing done. action: `area.verb`, such as `deploy.start`; detail: JSON values, scrubbed before they are kept."""

    action: str
    object_kind: str = ""
    object_id: str = ""
    service: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


def record(
    *,
    actor: Actor,
    action: str,
    object_kind: str = "",
    object_id: object = "",
    service: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append one entry, in the caller's transaction: it is kept if and only if what it tells of is.

    Call it last in the transaction: from here to the commit no other transaction can append, and one that waits here
    while holding what the caller still needs would be a deadlock.
    """
    event = Event(
        action=action, object_kind=object_kind, object_id=str(object_id), service=service, detail=detail or {}
    )
    record_all(actor=actor, events=[event])


def record_all(*, actor: Actor, events: Sequence[Event]) -> None:
    """Append many entries at once, in their order; as `record` otherwise."""
    AuditEntry.objects.bulk_create([_entry(actor, event) for event in events], batch_size=_BATCH)


def _entry(actor: Actor, event: Event) -> AuditEntry:
    return AuditEntry(
        actor_kind=actor.kind,
        actor_name=_text(actor.name, 200),
        actor_address=actor.address[:45],
        action=event.action,
        object_kind=event.object_kind,
        object_id=_text(event.object_id, 220),
        service=_text(event.service, 100),
        detail=_scrubbed(event.detail),
    )


def _text(value: str, limit: int) -> str:
    """Scrubbed, storable in PostgreSQL, no longer than its column."""
    return scrub(value).replace("\x00", "\ufffd").encode(errors="replace").decode()[:limit]


def _scrubbed(value: Any) -> Any:
    match value:
        case str():
            return _text(value, 20_000)
        case Mapping():
            return {_text(str(key), 200): _scrubbed(item) for key, item in value.items()}
        case list() | tuple():
            return [_scrubbed(item) for item in value]
        case None | bool() | int() | float():
            return value
        case _:
            return _text(str(value), 20_000)


@dataclass(frozen=True, kw_only=True)
class Break:
    """Where the chain is broken: the first entry that does not fit, and how."""

    entry_id: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of reading the whole chain. head is the last hash; keep it elsewhere, and a cut-off end shows."""

    count: int
    head: str
    broken: Break | None
    has_known_head: bool


def verify(*, known_head: str = "") -> Verdict:
    """Recompute every hash. known_head: a hash noted earlier; `has_known_head` says whether it is in the chain still."""
    count, last_hash, last_id, has_known_head = 0, "", 0, not known_head
    for entry in entries():
        reason = _misfit(entry, last_id=last_id, last_hash=last_hash)
        if reason:
            broken = Break(entry_id=entry.pk, reason=reason)
            return Verdict(count=count, head=last_hash, broken=broken, has_known_head=has_known_head)
        count, last_hash, last_id = count + 1, entry.hash, entry.pk
        has_known_head = has_known_head or entry.hash == known_head
    return Verdict(count=count, head=last_hash, broken=None, has_known_head=has_known_head)


def entries(*, after: int = 0) -> Iterator[AuditEntry]:
    """Oldest first, without holding them all in memory; each bears `detail_text`, the database's own JSON text."""
    queryset: QuerySet[AuditEntry] = AuditEntry.objects.filter(pk__gt=after).order_by("pk")
    return queryset.annotate(detail_text=Cast("detail", TextField())).iterator(chunk_size=_BATCH)


def _misfit(entry: AuditEntry, *, last_id: int, last_hash: str) -> str:
    if entry.pk != last_id + 1:
        return f"entries {last_id + 1} to {entry.pk - 1} are missing"
    if entry.prev_hash != last_hash:
        return "does not follow the entry before it"
    if entry.hash != _hash(entry):
        return "its content was changed"
    return ""


def _hash(entry: AuditEntry) -> str:
    """As the trigger computes it. PostgreSQL writes a JSON array with ", " between, and strings as json.dumps does."""
    words = [
        entry.pk,
        utc_text(entry.at),
        entry.actor_kind,
        entry.actor_name,
        entry.actor_address,
        entry.action,
        entry.object_kind,
        entry.object_id,
        entry.service,
    ]
    parts = [json.dumps(word, ensure_ascii=False) for word in words] + [getattr(entry, "detail_text", "")]
    return hashlib.sha256(f"{entry.prev_hash}[{', '.join(parts)}]".encode()).hexdigest()


def utc_text(at: datetime) -> str:
    """With all six digits of the second, as the hash covers them."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """One entry as `audit_export` writes it, hashes included, so that a copy can be checked on its own."""
    return {
        "id": entry.pk,
        "at": utc_text(entry.at),
        "actor": {"kind": entry.actor_kind, "name": entry.actor_name, "address": entry.actor_address},
        "action": entry.action,
        "object": {"kind": entry.object_kind, "id": entry.object_id},
        "service": entry.service,
        "detail": entry.detail,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
    }
