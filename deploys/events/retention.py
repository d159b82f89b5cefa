"""What is kept of deliveries: those that have ended, for a while; of a webhook that is switched off none are left waiting."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from deploys.webhook_models import WebhookDelivery
from inventory.database.steps import delete_in_steps

KEPT_FOR = timedelta(days=30)


def prune_deliveries() -> int:
    """Returns how many went."""
    waiting = WebhookDelivery.objects.filter(status=WebhookDelivery.Status.PENDING, expires_at__lt=Now())
    waiting.filter(webhook__is_active=False).update(
        status=WebhookDelivery.Status.FAILED, finished_at=Now(), error="The webhook is switched off."
    )
    return delete_in_steps(old_deliveries())


def old_deliveries() -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(finished_at__lt=Now() - KEPT_FOR)
