"""What the chats get: one sentence, in the webhook's language, in each one's own form."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from deploys.webhook_models import Webhook, WebhookDelivery
from deploys.webhooks.bodies import message
from tests.support.webhooks import SECRET

NOW = datetime(2024, 1, 15, 10, 30, 0, 250_000, tzinfo=UTC)
FINISHED = {
    "deploy_id": "d-1",
    "service": "shop",
    "version": "v2",
    "status": "failed",
    "progress": {
        "total": 4,
        "completed": 1,
        "failed": 3,
        "pending": 0,
        "in_progress": 0,
        "cancelled": 0,
        "superseded": 0,
    },
    "requested_by": "ci",
}
ENDED = {**FINISHED, "status": "completed"}
SUPERSEDED = {
    **FINISHED,
    "status": "cancelled",
    "progress": {"total": 4, "completed": 0, "superseded": 4, "cancelled": 4},
}
UNREACHED = {"status": "failed", "step": "connect", "reverted": None, "error": {"code": "node_unreachable"}}
BROKEN = {"status": "failed", "step": "restart", "reverted": True, "error": {"code": "command_failed"}}
HELD = {"service": "shop", "held": True, "reason": "<at id=all>a & b", "held_by": "ada", "held_at": "x", "until": None}
RELEASED = {**HELD, "held": False, "released_by": "bob"}
LINK = {"instance_id": "shop-1", "version": None, "expected_version": "v2", "process_version": None, "drift": "link"}
PROCESS = {**LINK, "version": "v2", "process_version": "v1", "drift": "process"}


def delivery(body: str, event: str, data: dict[str, Any], **webhook: Any) -> WebhookDelivery:
    hook = Webhook(url="https://chat.example.com/send?key=abc", body=body, secret=SECRET, **webhook)
    return WebhookDelivery(webhook=hook, event=event, data=data, message_id="msg_1", happened_at=NOW)


def content(*args: Any, **webhook: Any) -> Any:
    return orjson.loads(message(delivery(*args, **webhook), now=NOW).body)


@pytest.mark.parametrize(
    ("event", "data", "language", "text"),
    [
        ("operation.finished", FINISHED, "en", "shop, Deploy d-1 by ci: Failed on 3 of 4 instances"),
        (
            "operation.finished",
            {**ENDED, "until": "switched"},
            "en",
            "shop, Deploy d-1 by ci: Completed: all 4 instances run v2",
        ),
        (
            "operation.finished",
            {**ENDED, "until": "staged"},
            "en",
            "shop, Deploy d-1 by ci: Staged: all 4 instances have v2 ready",
        ),
        (
            "operation.finished",
            {**ENDED, "until": "checked"},
            "en",
            "shop, Deploy d-1 by ci: Checked: all 4 instances could take v2",
        ),
        (
            "operation.finished",
            {**FINISHED, "instances": [UNREACHED, BROKEN, BROKEN]},
            "en",
            "shop, Deploy d-1 by ci: Failed on 3 of 4 instances. 1 runs v2. On 1 nothing was switched. 2 were reverted to "
            "what they ran before.",
        ),
        ("operation.finished", SUPERSEDED, "en", "shop, Deploy d-1 by ci: Superseded: 0 of 4 done"),
        ("service.held", HELD, "en", "shop is held by ada: &lt;at id=all&gt;a &amp; b"),
        ("service.held", {**HELD, "reason": "x", "until": "noon"}, "en", "shop is held by ada until noon: x"),
        ("service.released", RELEASED, "en", "shop was released by bob: deploys are taken again"),
        ("service.held", {**HELD, "reason": "x"}, "zh-hans", "shop 已由 ada 暂停发布：x"),
        ("operation.finished", FINISHED, "zh-hans", "shop，发布 d-1（ci）：3/4 个实例失败"),
        (
            "instance.drifted",
            {"service": "shop", "instances": [LINK]},
            "en",
            "shop: 1 instance does not run what is expected (shop-1 runs nothing known instead of v2)",
        ),
        (
            "instance.drifted",
            {"service": "shop", "instances": [PROCESS] * 12},
            "en",
            "shop: 12 instances do not run what is expected ("
            + "shop-1: its process runs v1, its link leads to v2; " * 10
            + "…)",
        ),
    ],
)
def test_slack(event: str, data: dict[str, Any], language: str, text: str) -> None:
    assert content("slack", event, data, language=language) == {"text": text}


@pytest.mark.parametrize("body", ["dingtalk", "wecom"])
def test_a_reason_can_call_nobody(body: str) -> None:
    assert content(body, "service.held", HELD) == {
        "msgtype": "text",
        "text": {"content": "shop is held by ada: ＜at id=all＞a & b"},
    }


def test_feishu_signed_and_not() -> None:
    plain = content("feishu", "service.released", RELEASED)
    signed = content("feishu", "service.released", RELEASED, chat_secret="feishu-secret")

    assert plain == {"msg_type": "text", "content": {"text": "shop was released by bob: deploys are taken again"}}
    key = f"{int(NOW.timestamp())}\nfeishu-secret".encode()
    sign = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
    assert signed == {**plain, "timestamp": str(int(NOW.timestamp())), "sign": sign}


def test_dingtalk_signed_and_not() -> None:
    plain = message(delivery("dingtalk", "service.released", RELEASED), now=NOW)
    signed = message(delivery("dingtalk", "service.released", RELEASED, chat_secret="SECabc"), now=NOW)

    assert plain.url == "https://chat.example.com/send?key=abc"
    query = parse_qs(urlsplit(signed.url).query)
    timestamp = "1705314600250"
    expected = hmac.new(b"SECabc", f"{timestamp}\nSECabc".encode(), hashlib.sha256).digest()
    assert query == {"key": ["abc"], "timestamp": [timestamp], "sign": [base64.b64encode(expected).decode()]}


def test_a_long_reason_is_cut() -> None:
    text = content("wecom", "service.held", {**HELD, "reason": "盘" * 5000})["text"]["content"]

    assert len(text.encode()) < 2048
    assert text.endswith("盘…")
