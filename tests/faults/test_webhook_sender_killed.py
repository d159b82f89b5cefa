"""Whoever sends to webhooks is killed with `kill -9`: before it has sent, and before it has marked what it sent.

Each event arrives, at least once, and always under one id. The sender that was killed had claimed it; another sends it
when that claim has ended.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings

from deploys.models import Worker
from deploys.webhook_models import WebhookDelivery
from deploys.webhooks.claims import CLAIM_SECONDS
from tests.support.database import process_environment
from tests.support.fleet import make_service
from tests.support.lab import wait_until
from tests.support.webhook_receiver import Receiver, receiving
from tests.support.webhooks import hold_event, make_webhook
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(150)]

# A sender that dies between its claim and the first byte.
CLAIMS_AND_DIES = """
import os, signal, django
django.setup()
from deploys.webhooks.claims import claim
print([each.message_id for each in claim(busy=[], most=1, is_silent=False)], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def statuses() -> list[str]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("status", flat=True))


def event_of(service: str, receiver: Receiver, *, name: str) -> None:
    webhook = make_webhook(receiver.url, name=name, all_services=False)
    webhook.services.add(make_service(service))
    hold_event(webhook.services.get())


def claimed_by_one_that_dies() -> str:
    command = (sys.executable, "-c", CLAIMS_AND_DIES)
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=process_environment(), capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    return done.stdout.strip().strip("[']")


def test_what_a_killed_sender_had_claimed_arrives_under_the_same_id() -> None:
    with receiving() as never_asked, receiving() as asked:
        environment = {"RELEASE_WEBHOOK_HOSTS": f"{never_asked.netloc},{asked.netloc}"}
        event_of("shop", never_asked, name="claimed, not sent")
        claimed = claimed_by_one_that_dies()
        event_of("bank", asked, name="sent, not marked")
        expected = dict(WebhookDelivery.objects.order_by("pk").values_list("webhook__name", "message_id"))
        sent_unmarked(asked, environment)
        assert not never_asked.received  # its claim lasts

        asked.released.set()
        with running_worker(environment, wait=False):
            wait_until(lambda: statuses() == ["sent"] * 2, what="end of the deliveries", seconds=CLAIM_SECONDS + 25)

    assert claimed == WebhookDelivery.objects.earliest("pk").message_id
    assert never_asked.ids.count(claimed) == 1
    assert asked.ids == [expected["sent, not marked"]] * 2
    assert len({received.body for received in asked.received}) == 1


def sent_unmarked(receiver: Receiver, environment: dict[str, str]) -> None:
    """A worker host is killed, all of it, when the receiver has the event and has not answered."""
    receiver.released.clear()
    with running_worker(environment, wait=False) as host:
        wait_until(lambda: len(receiver.received) == 1, what="first arrival", seconds=40)
        host.kill_all()


def test_two_hosts_send_nothing_twice_at_once() -> None:
    """Their senders race for a hundred deliveries."""
    services = [make_service(f"shop-{number}") for number in range(5)]
    with receiving() as receiver:
        environment = {"RELEASE_WEBHOOK_HOSTS": receiver.netloc}
        for number in range(20):
            make_webhook(receiver.url, name=f"hook {number}")
        with running_worker(environment, wait=False), running_worker(environment, wait=False):
            wait_until(lambda: Worker.objects.count() == 2, what="second host", seconds=40)
            for service in services:
                hold_event(service)
            wait_until(lambda: set(statuses()) == {"sent"}, what="end of the deliveries", seconds=60)

    assert len(receiver.ids) == len(set(receiver.ids)) == 100
