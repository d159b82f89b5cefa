"""Webhooks are made in the admin; their URL and secrets go in there and come out nowhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django.fixtures import Settings

from deploys.webhook_models import Webhook, WebhookDelivery
from inventory.models import AuditEntry
from tests.support.fleet import make_service
from tests.support.webhooks import SECRET, make_sent, make_webhook

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.com/services/tokenInThePath?key=tokenInTheQuery"
FORM = {"name": "chat", "url": URL, "body": "feishu", "language": "zh-hans", "is_active": "on"}
EVENTS = ["operation.finished", "service.held"]
ADD = reverse("admin:deploys_webhook_add")


@pytest.fixture
def client(settings: Settings) -> Client:
    settings.WEBHOOK_HOSTS = ("hooks.example.com", "127.0.0.1:8099")
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def text(answer: Any) -> str:
    return str(answer.content.decode())


def post(client: Client, page: str, **changes: Any) -> Any:
    return client.post(page, {**FORM, "events": EVENTS, **changes}, follow=True)


def change_url(webhook: Webhook) -> str:
    return reverse("admin:deploys_webhook_change", args=[webhook.pk])


def test_its_secret_is_shown_once(client: Client) -> None:
    answer = post(client, ADD)
    webhook = Webhook.objects.get()

    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", webhook.secret)
    assert webhook.secret in text(answer)
    assert "no-store" in answer["Cache-Control"]
    assert (webhook.url, webhook.events, webhook.all_services) == (URL, EVENTS, True)
    assert webhook.secret not in text(client.get(change_url(webhook)))

    before = webhook.secret
    answer = client.post(reverse("admin:deploys_webhook_renew_secret", args=[webhook.pk]))
    webhook.refresh_from_db()
    assert webhook.secret != before
    assert webhook.secret in text(answer)
    assert before not in text(answer)


def test_url_and_secrets_are_on_no_page_and_not_in_the_audit(client: Client) -> None:
    post(client, ADD, chat_secret="tokenOfFeishu")
    webhook = Webhook.objects.get()
    delivery = make_sent(webhook)
    post(client, change_url(webhook), url=URL + "Two", chat_secret="tokenOfFeishuTwo")
    history = reverse("admin:deploys_webhook_history", args=[webhook.pk])
    deliveries = reverse("admin:deploys_webhookdelivery_changelist")
    one = reverse("admin:deploys_webhookdelivery_change", args=[delivery.pk])
    pages = (change_url(webhook), reverse("admin:deploys_webhook_changelist"), history, deliveries, one)

    webhook.refresh_from_db()
    assert (webhook.url, webhook.chat_secret) == (URL + "Two", "tokenOfFeishuTwo")
    for page in pages:
        shown = text(client.get(page))
        assert "tokenIn" not in shown and "tokenOf" not in shown and webhook.secret not in shown, page
    assert "https://hooks.example.com/…" in text(client.get(change_url(webhook)))
    told = list(AuditEntry.objects.filter(object_kind="webhook").order_by("pk").values_list("action", "detail"))
    assert [action for action, _detail in told] == ["webhook.create", "webhook.change"]
    assert told[1][1]["changes"]["url"] == ["", "(not kept)"]
    assert "token" not in str(told)


def test_what_is_left_empty_stays_and_a_sender_is_not_overwritten(client: Client) -> None:
    post(client, ADD, chat_secret="tokenOfFeishu", services=[make_service("shop").pk])
    webhook = Webhook.objects.get()
    assert not webhook.all_services
    page = client.get(change_url(webhook))
    with CaptureQueriesContext(connection) as queries:
        post(client, change_url(webhook), url="", chat_secret="", name="renamed")

    webhook.refresh_from_db()
    assert (webhook.name, webhook.url, webhook.chat_secret) == ("renamed", URL, "tokenOfFeishu")
    assert webhook.all_services
    (update,) = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "deploys_webhook"')]
    assert "unanswered" not in update
    assert page.status_code == 200


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "Write a complete URL"),
        ("hooks.example.com/x", "Write a complete URL"),
        ("ftp://hooks.example.com/x", "Write a complete URL"),
        ("https://hooks.example.com/a b", "Write a complete URL"),
        ("https://elsewhere.example.com/x", "Nothing may be sent to elsewhere.example.com"),
        ("https://hooks.example.com:8443/x", "Nothing may be sent to hooks.example.com:8443"),
        ("https://bob:tokenInUserinfo@elsewhere.example.com/x", "Nothing may be sent to elsewhere.example.com"),
        ("http://127.1:8099/x", "Nothing may be sent to 127.1:8099"),
        ("http://[::ffff:127.0.0.1]:8099/x", "Nothing may be sent to [::ffff:127.0.0.1]:8099"),
    ],
)
def test_a_url_that_may_not_be_is_refused(client: Client, url: str, says: str) -> None:
    answer = post(client, ADD, url=url)

    assert says in text(answer)
    assert not Webhook.objects.exists()


def test_at_least_one_event_is_chosen(client: Client) -> None:
    post(client, ADD, events=[])
    post(client, ADD, events=["made.up"])

    assert not Webhook.objects.exists()


def test_a_delivery_is_sent_again_under_its_id(client: Client) -> None:
    delivery = make_sent(make_webhook(URL))
    page = text(client.get(reverse("admin:deploys_webhookdelivery_change", args=[delivery.pk])))
    again = reverse("admin:deploys_webhookdelivery_send_again", args=[delivery.pk])
    assert again in page and "Send again" in page

    assert "msg_1 is being sent again" in text(client.post(again, follow=True))
    delivery.refresh_from_db()
    assert (delivery.status, delivery.message_id, delivery.finished_at) == ("pending", "msg_1", None)
    assert AuditEntry.objects.latest("pk").action == "webhook.send_again"

    WebhookDelivery.objects.update(claim="x")
    assert "msg_1 is being sent just now" in text(client.post(again, follow=True))


def test_a_webhook_goes_with_what_was_sent_to_it(client: Client) -> None:
    webhook = make_webhook(URL)
    make_sent(webhook)
    delete = reverse("admin:deploys_webhook_delete", args=[webhook.pk])
    assert "msg_1" not in text(client.get(delete))
    client.post(delete, {"post": "yes"})

    assert not Webhook.objects.exists()
    assert not WebhookDelivery.objects.exists()
    assert SECRET not in str(list(AuditEntry.objects.values()))
