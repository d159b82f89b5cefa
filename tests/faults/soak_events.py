"""The soak's webhook: whatever was killed, it is told of the end of every operation, each under one id."""

from __future__ import annotations

import time
from collections.abc import Iterator

from deploys.models import Operation
from deploys.webhook_models import WebhookDelivery
from deploys.webhooks.claims import CLAIM_SECONDS
from tests.support.webhook_receiver import Receiver
from tests.support.webhooks import make_webhook


def listen(receiver: Receiver) -> None:
    make_webhook(receiver.url, events=["operation.finished"])


def untold(receiver: Receiver) -> Iterator[str]:
    """What it was not told, once the claims of killed senders have ended."""
    deadline = time.monotonic() + CLAIM_SECONDS + 10
    while WebhookDelivery.objects.exclude(status="sent").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    for delivery in WebhookDelivery.objects.exclude(status="sent"):
        yield f"{delivery.subject}: not delivered after {delivery.attempts} tries: {delivery.error}"
    stored = dict(WebhookDelivery.objects.values_list("message_id", "subject"))
    if set(receiver.ids) != stored.keys():
        yield f"arrived and stored differ: {set(receiver.ids) ^ stored.keys()}"
    for operation in Operation.objects.exclude(finished_at=None):
        if str(operation) not in stored.values():
            yield f"no event of the end of {operation}"
