"""Webhooks and deliveries for a test, straight through the models."""

from __future__ import annotations

from typing import Any

from deploys.events.outbox import Event, emit
from deploys.webhook_models import EventType, Webhook, WebhookDelivery
from inventory.models import Service

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def make_webhook(url: str, **fields: Any) -> Webhook:
    return Webhook.objects.create(
        **{"name": "hook", "url": url, "events": EventType.values, "secret": SECRET, **fields}
    )


def make_sent(webhook: Webhook) -> WebhookDelivery:
    ended = "2024-01-15T10:30:00Z"
    return WebhookDelivery.objects.create(
        webhook=webhook, message_id="msg_1", event="service.held", subject="service bank", data={"service": "bank"},
        status="sent", attempts=1, attempted_at=ended, finished_at=ended, answer_status=200, answer="ok",
    )  # fmt: skip


def hold_event(service: Service, *, reason: str = "the disk is full", subject: str = "") -> None:
    """As whoever holds a service makes it."""
    data = {
        "service": service.name,
        "held": True,
        "reason": reason,
        "held_by": "ada",
        "held_at": "2024-01-15T10:30:00Z",
        "until": None,
    }
    event = Event(service_id=service.pk, subject=subject or f"service {service}", data=lambda: data)
    emit(EventType.SERVICE_HELD, [event])


def due_now() -> None:
    """As if all pauses were over."""
    long_ago = "2024-01-15T10:30:00Z"
    WebhookDelivery.objects.filter(claim="").update(due_at=long_ago)
    Webhook.objects.update(rests_until=long_ago)
