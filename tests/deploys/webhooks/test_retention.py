"""What has ended goes after a month; of a webhook that is switched off nothing is left waiting."""

from __future__ import annotations

import pytest

from deploys.events.retention import prune_deliveries
from deploys.webhook_models import Webhook, WebhookDelivery
from tests.support.fleet import make_service
from tests.support.webhooks import hold_event, make_sent, make_webhook

pytestmark = pytest.mark.django_db


def test_old_ones_go_and_young_and_waiting_ones_stay() -> None:
    hook = make_webhook("https://hooks.example.com/x")
    old = make_sent(hook)
    hold_event(make_service("shop"))
    hold_event(make_service("bank"))
    waiting, young = WebhookDelivery.objects.exclude(pk=old.pk).order_by("pk")
    WebhookDelivery.objects.filter(pk=young.pk).update(status="failed", finished_at=young.happened_at)
    WebhookDelivery.objects.filter(pk=waiting.pk).update(happened_at="2024-01-15T10:30:00Z")

    assert prune_deliveries() == 1
    assert set(WebhookDelivery.objects.all()) == {waiting, young}


def test_what_waits_for_a_webhook_that_is_switched_off_fails_after_its_day() -> None:
    make_webhook("https://hooks.example.com/x")
    hold_event(make_service("shop"))
    hold_event(make_service("bank"))
    first = WebhookDelivery.objects.earliest("pk")
    WebhookDelivery.objects.filter(pk=first.pk).update(expires_at="2024-01-15T10:30:00Z")
    prune_deliveries()
    assert {each.status for each in WebhookDelivery.objects.all()} == {"pending"}

    Webhook.objects.update(is_active=False)
    prune_deliveries()
    first.refresh_from_db()
    assert (first.status, first.error) == ("failed", "The webhook is switched off.")
    assert WebhookDelivery.objects.latest("pk").status == "pending"
