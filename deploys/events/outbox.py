"""The outbox: an event is stored for each webhook that wants it, in the transaction that makes the event."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection
from django.db.models.functions import Now

from deploys.webhook_models import TRIED_FOR, EventType, Webhook, WebhookDelivery

Payload = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened to a service. subject: the events of one are delivered in order. data: asked only when it is wanted."""

    service_id: int
    subject: str
    data: Callable[[], Payload]


def is_wanted(kind: EventType) -> bool:
    """Whether any webhook takes this kind of event, of whichever service."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM deploys_webhook WHERE is_active AND %s = ANY(events))", [kind])
        return bool(cursor.fetchone()[0])


def emit(kind: EventType, events: Sequence[Event]) -> None:
    """Store these events for whoever wants them; they are sent once the caller's transaction has committed."""
    wanted = _webhooks_by_service(kind, {event.service_id for event in events})
    rows: list[WebhookDelivery] = []
    for event in events:
        webhooks = wanted.get(event.service_id, ())
        data = _as_json(event.data()) if webhooks else {}
        rows += [
            WebhookDelivery(webhook_id=pk, message_id=_new_id(), event=kind, subject=event.subject, data=data)
            for pk in webhooks
        ]
    WebhookDelivery.objects.bulk_create(rows)


# The lock keeps them from being deleted before our rows refer to them; one that is being deleted wants nothing more.
_WANTED = """
SELECT s.id, w.id FROM deploys_webhook w JOIN inventory_service s ON s.id = ANY(%(services)s)
WHERE w.is_active AND %(kind)s = ANY(w.events) AND (w.all_services OR EXISTS (
    SELECT FROM deploys_webhook_services only_of WHERE only_of.webhook_id = w.id AND only_of.service_id = s.id))
ORDER BY w.id FOR KEY SHARE OF w SKIP LOCKED
"""


def _webhooks_by_service(kind: EventType, services: Collection[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_WANTED, {"kind": kind, "services": list(services)})
        for service_id, webhook_id in cursor.fetchall():
            found.setdefault(service_id, []).append(webhook_id)
    return found


def _as_json(data: Payload) -> Payload:
    """Times as API answers write them."""
    as_answered = orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)
    stored: Payload = orjson.loads(as_answered)
    return stored


def _new_id() -> str:
    return f"msg_{secrets.token_hex(16)}"


def send_again(delivery: WebhookDelivery) -> bool:
    """Have it tried for a day more, from now on, under the same message id. False while a try is under way."""
    again = WebhookDelivery.objects.filter(pk=delivery.pk, claim="").update(
        status=WebhookDelivery.Status.PENDING, due_at=Now(), expires_at=Now() + TRIED_FOR, finished_at=None
    )
    Webhook.objects.filter(pk=delivery.webhook_id).update(rests_until=Now())
    return again > 0
