"""What is due is sent, signed, to whom it may be sent, whatever a receiver does; each try is written down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from standardwebhooks.webhooks import Webhook as Verifier

from deploys.webhook_models import Webhook, WebhookDelivery
from deploys.webhooks.sender import Sender
from inventory.models import Service
from tests.support.fleet import make_service
from tests.support.ports import free_port
from tests.support.webhook_receiver import Receiver, receiving
from tests.support.webhooks import SECRET, due_now, hold_event, make_webhook

pytestmark = pytest.mark.django_db

TOKEN = "T0123/B4567/tokenInThePath"


@pytest.fixture
def shop() -> Service:
    return make_service("shop")


@pytest.fixture
def hook(receiver: Receiver, settings: Settings) -> Webhook:
    settings.WEBHOOK_HOSTS = (receiver.netloc,)
    return make_webhook(f"{receiver.url}/{TOKEN}")


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender(deadline_seconds=1.0)
    yield sender
    sender.leave()


def send(sender: Sender) -> None:
    """Until nothing is due or under way."""
    sender.turn()
    while sender._tries:
        sender.turn()


def delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def test_it_is_signed_as_standard_webhooks_say(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender
) -> None:
    hold_event(shop)
    send(sender)

    (received,) = receiver.received
    body: Any = Verifier(SECRET).verify(received.body, received.headers)
    assert received.id == delivery().message_id
    assert received.headers["content-type"] == "application/json"
    assert body.keys() == {"type", "timestamp", "data"}
    assert (body["type"], body["data"]["service"]) == ("service.held", "shop")
    sent = delivery()
    assert (sent.status, sent.attempts, sent.answer_status, sent.answer) == ("sent", 1, 200, "ok")


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender
) -> None:
    receiver.status, receiver.body = 500, f"no {TOKEN.split('/')[2]} and no {SECRET}, password=hunter22".encode()
    hold_event(shop)
    pauses = []
    for _ in range(4):
        send(sender)
        failed = delivery()
        assert failed.attempted_at is not None
        pauses.append((failed.due_at - failed.attempted_at).total_seconds())
        due_now()

    assert (failed.status, failed.attempts, failed.answer_status) == ("pending", 4, 500)
    assert failed.error == "The receiver answered 500 Internal Server Error."
    for secret in (*TOKEN.split("/")[2:], SECRET[6:], "hunter22"):
        assert secret not in failed.answer
    assert [round(pause / 5) for pause in pauses] == [1, 2, 4, 8]
    receiver.status = 200
    send(sender)
    assert delivery().status == "sent"
    assert len(receiver.received) == 5 and len(set(receiver.ids)) == 1
    assert len({each.body for each in receiver.received}) == 1


def test_after_a_day_it_is_given_up_and_can_be_sent_again(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender
) -> None:
    receiver.status = 404
    hold_event(shop)
    WebhookDelivery.objects.update(expires_at="2024-01-15T10:30:00Z")
    send(sender)

    assert (delivery().status, delivery().answer_status) == ("failed", 404)
    assert delivery().finished_at is not None


def test_one_that_is_down_gets_it_all_when_it_is_back(settings: Settings, shop: Service, sender: Sender) -> None:
    port = free_port()
    settings.WEBHOOK_HOSTS = (f"127.0.0.1:{port}",)
    hook = make_webhook(f"http://127.0.0.1:{port}/hook")
    for number in range(3):
        hold_event(shop, subject=f"deploy {number}")
    send(sender)
    hook.refresh_from_db()

    assert [each.attempts for each in WebhookDelivery.objects.order_by("pk")] == [1, 0, 0]  # it rests as a whole
    assert hook.unanswered == 1
    assert "refuses connections" in WebhookDelivery.objects.earliest("pk").error
    with receiving(port) as receiver:
        due_now()
        send(sender)
        assert receiver.ids == list(WebhookDelivery.objects.order_by("pk").values_list("message_id", flat=True))
    hook.refresh_from_db()
    assert hook.unanswered == 0


def test_events_of_one_subject_are_sent_in_order_and_others_do_not_wait(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender
) -> None:
    receiver.status = 503
    for subject in ("deploy a", "deploy a", "deploy b"):
        hold_event(shop, subject=subject)
    first, second, other = WebhookDelivery.objects.order_by("pk")
    send(sender)
    assert receiver.ids == [first.message_id, other.message_id]

    receiver.status = 200
    due_now()
    send(sender)
    assert receiver.ids[2:] == [first.message_id, second.message_id, other.message_id] or receiver.ids[2:] == [
        first.message_id,
        other.message_id,
        second.message_id,
    ]


def test_a_receiver_that_hangs_delays_no_other(
    hook: Webhook, receiver: Receiver, shop: Service, settings: Settings
) -> None:
    sender = Sender(deadline_seconds=3.0)
    receiver.released.clear()
    with receiving() as other:
        settings.WEBHOOK_HOSTS = (receiver.netloc, other.netloc)
        make_webhook(other.url, name="other")
        for number in range(3):
            hold_event(shop, subject=f"deploy {number}")
        began = time.monotonic()
        while len(other.received) < 3:
            sender.turn()
        assert time.monotonic() - began < 2
        assert len(receiver.received) == 1
        while sender._tries:
            sender.turn()
        assert time.monotonic() - began < 6
    hung = WebhookDelivery.objects.filter(webhook=hook).earliest("pk")
    assert hung.error == "No whole answer came within 3 seconds."
    assert hung.status == "pending"


def test_an_answer_without_end_is_read_to_a_bound(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender
) -> None:
    receiver.endless = True
    hold_event(shop)
    send(sender)

    assert delivery().status == "sent"
    assert len(delivery().answer) <= 500


def test_redirects_are_not_followed(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender, settings: Settings
) -> None:
    with receiving() as other:
        settings.WEBHOOK_HOSTS = (receiver.netloc, other.netloc)
        receiver.status, receiver.headers = 307, {"Location": other.url}
        hold_event(shop)
        send(sender)

        assert not other.received
    assert delivery().error == "The receiver answered 307 Temporary Redirect. Redirects are not followed."


@pytest.mark.parametrize("allowed", [(), ("hooks.example.com",), ("127.0.0.1",), ("localhost:{port}",)])
def test_a_host_that_is_not_allowed_gets_nothing(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender, settings: Settings, allowed: tuple[str, ...]
) -> None:
    settings.WEBHOOK_HOSTS = tuple(each.format(port=receiver.port) for each in allowed)
    hold_event(shop)
    send(sender)

    assert not receiver.received
    assert delivery().error == f"Nothing was sent: {receiver.netloc} is not in RELEASE_WEBHOOK_HOSTS."


def test_a_name_that_leads_to_this_machine_gets_nothing(
    receiver: Receiver, shop: Service, sender: Sender, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name server is the outer edge."""
    settings.WEBHOOK_HOSTS = (f"hooks.example.com:{receiver.port}",)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", receiver.port))])
    make_webhook(f"http://hooks.example.com:{receiver.port}/{TOKEN}")
    hold_event(shop)
    send(sender)

    assert not receiver.received
    assert delivery().error == "Nothing was sent: hooks.example.com is 127.0.0.1, a loopback address."


@pytest.mark.parametrize(
    ("body", "answer", "code"),
    [
        ("feishu", b'{"code":19021,"msg":"sign match fail"}', "19021"),
        ("dingtalk", b'{"errcode":310000,"errmsg":"keywords not in content"}', "310000"),
        ("wecom", b'{"errcode":93000,"errmsg":"invalid webhook url"}', "93000"),
    ],
)
def test_a_chat_that_refuses_with_200_has_not_taken_it(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender, body: str, answer: bytes, code: str
) -> None:
    Webhook.objects.update(body=body)
    receiver.body = answer
    hold_event(shop)
    send(sender)
    assert (delivery().status, delivery().error) == ("pending", f"The chat refused it with code {code}.")

    receiver.body = b'{"code":0,"errcode":0,"errmsg":"ok"}'
    due_now()
    send(sender)
    assert delivery().status == "sent"


def test_one_that_asks_for_a_pause_gets_it(hook: Webhook, receiver: Receiver, shop: Service, sender: Sender) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "120"}
    hold_event(shop)
    send(sender)

    waiting = delivery()
    assert waiting.attempted_at is not None
    assert 119 <= (waiting.due_at - waiting.attempted_at).total_seconds() <= 125


def test_a_webhook_that_is_switched_off_sends_nothing(
    hook: Webhook, receiver: Receiver, shop: Service, sender: Sender
) -> None:
    hold_event(shop)
    Webhook.objects.update(is_active=False)
    hold_event(shop)
    send(sender)

    assert WebhookDelivery.objects.count() == 1
    assert not receiver.received
