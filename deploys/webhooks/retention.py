"""What is kept of deliveries: those that have ended, for a while; of a webhook that is switched off none are left waiting."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now

from deploys.webhook_models import WebhookDelivery

KEPT_FOR = timedelta(days=30)
_AT_ONCE = 1000


def prune_deliveries() -> int:
    """Returns how many went."""
    waiting = WebhookDelivery.objects.filter(status=WebhookDelivery.Status.PENDING, expires_at__lt=Now())
    waiting.filter(webhook__is_active=False).update(
        status=WebhookDelivery.Status.FAILED, finished_at=Now(), error="The webhook is switched off."
    )
    gone = 0
    while pks := list(
        WebhookDelivery.objects.filter(finished_at__lt=Now() - KEPT_FOR).values_list("pk", flat=True)[:_AT_ONCE]
    ):
        gone += WebhookDelivery.objects.filter(pk__in=pks).delete()[0]
    return gone
