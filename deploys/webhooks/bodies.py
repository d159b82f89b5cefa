"""What is sent for a delivery: URL, headers and body, signed. Made anew for each try, with the same id and the same text."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from standardwebhooks.webhooks import Webhook as Signer

from deploys.webhook_models import BodyFormat, EventType, WebhookDelivery
from deploys.webhooks.sentences import sentence
from inventory.wire.wire_time import wire_time

# WeCom takes 2048 bytes of text, the others more.
_MOST_TEXT_BYTES = 2000


@dataclass(frozen=True, kw_only=True)
class Message:
    url: str
    headers: Mapping[str, str]
    body: bytes


def message(delivery: WebhookDelivery, *, now: datetime) -> Message:
    """The delivery's, loaded with its webhook. now: aware, in UTC; signatures are good for some minutes."""
    webhook = delivery.webhook
    body = orjson.dumps(_content(delivery, now))
    return Message(
        url=_signed_url(webhook.url, webhook.chat_secret, now) if webhook.body == BodyFormat.DINGTALK else webhook.url,
        headers={
            "Content-Type": "application/json",
            "User-Agent": "release-execution",
            "Accept-Encoding": "identity",
            **_signature(webhook.secret, delivery.message_id, body, now),
        },
        body=body,
    )


def _signature(secret: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Webhook headers"."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(secret).sign(message_id, now.astimezone(UTC), body.decode()),
    }


def _content(delivery: WebhookDelivery, now: datetime) -> dict[str, Any]:
    webhook = delivery.webhook
    if webhook.body == BodyFormat.STANDARD:
        return {"type": delivery.event, "timestamp": wire_time(delivery.happened_at), "data": delivery.data}
    text = _cut(sentence(EventType(delivery.event), delivery.data, webhook.language))
    match BodyFormat(webhook.body):
        case BodyFormat.SLACK:
            # https://docs.slack.dev/messaging/formatting-message-text: these three, and no others.
            return {"text": html.escape(text, quote=False)}
        case BodyFormat.FEISHU:
            signed = _feishu_signature(webhook.chat_secret, now)
            return {**signed, "msg_type": "text", "content": {"text": _without_tags(text)}}
        case _:
            return {"msgtype": "text", "text": {"content": _without_tags(text)}}


def _without_tags(text: str) -> str:
    """A reason that says `<at user_id="all">` must call nobody; these chats know no escape for it."""
    return text.replace("<", "＜").replace(">", "＞")


def _cut(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= _MOST_TEXT_BYTES else encoded[:_MOST_TEXT_BYTES].decode(errors="ignore") + "…"


def _feishu_signature(secret: str, now: datetime) -> dict[str, str]:
    """https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot: the text is the key, and nothing is signed by it."""
    if not secret:
        return {}
    timestamp = str(int(now.timestamp()))
    return {"timestamp": timestamp, "sign": _hmac(f"{timestamp}\n{secret}", "")}


def _signed_url(url: str, secret: str, now: datetime) -> str:
    """https://open.dingtalk.com/document/robots/customize-robot-security-settings: in the query, in milliseconds."""
    if not secret:
        return url
    timestamp = str(int(now.timestamp() * 1000))
    signed = urlencode({"timestamp": timestamp, "sign": _hmac(secret, f"{timestamp}\n{secret}")})
    parts = urlsplit(url)
    return parts._replace(query=f"{parts.query}&{signed}" if parts.query else signed).geturl()


def _hmac(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()
