"""A caller who asks for Chinese is refused in Chinese, whatever is wrong; without Accept-Language the answers are English."""

from __future__ import annotations

import re
from typing import Any

from inventory.models import Service
from tests.releasesite.api.test_who_may_call import ROWS, world
from tests.support.api import caller, with_token
from tests.support.chinese import HAN, faults

__all__ = ("world",)  # a fixture

ENGLISH = re.compile(r"\b[A-Za-z]{3,} [a-z]{2,}\b")
UNKNOWN = {"user-service": "nothing", "d-waiting": "nothing", "d-confirm": "nothing", "d-failed": "nothing",
           "r-waiting": "nothing", "instance-1": "nothing"}  # fmt: skip
BAD: dict[str, Any] = {
    "service": 1, "version": "../x", "instances": ["a b"], "package_url": "ftp://x", "sha256": "x", "attempt": "1",
    "instance_id": "", "target_version": None, "rollback_id": " ", "deploy_id": "é", "unknown": 1, "until": "yesterday",
    "confirm_within": 1, "reason": 5, "status": "x", "health": "x", "nodes": "x",
}  # fmt: skip
BUSY = {"service": "user-service", "version": "v2", "instances": ["instance-1", "x"], "package_url": "http://p/v2.tgz"}
ZH = {"accept-language": "zh-CN"}


def test_every_refusal_is_in_chinese(world: Service) -> None:
    details = {detail for details in _refused().values() for detail in details}
    assert len(details) > 25
    # A JSON parser's own words are quoted.
    details = {detail for detail in details if "JSON：" not in detail}
    assert {detail for detail in details if not HAN.search(detail) or ENGLISH.search(detail)} == set()
    assert [fault for detail in details for fault in faults(detail)] == []


def test_without_a_wish_it_is_english(world: Service) -> None:
    answer = caller().post("/v1/deploy/execute", BAD, format="json")
    assert not HAN.search(answer.content.decode())


def _refused() -> dict[str, list[str]]:
    """What each call says to an unknown name, to a body of faults, to a wrong token and to a scope that is too small."""
    reader, writer, editor = caller("read"), caller("deploy"), caller("inventory")
    answers: dict[str, Any] = {"no token": with_token("x").get("/v1/deploy/list", headers=ZH)}
    for name, row in ROWS.items():
        path = re.sub("|".join(UNKNOWN), lambda match: UNKNOWN[match[0]], row.path)
        for who, client in (("reader", reader), ("writer", writer), ("editor", editor)):
            for where in {row.path, path}:
                send = getattr(client, row.method)
                answers[f"{who} {name} {where}"] = send(where, BAD if row.body else None, format="json", headers=ZH)
    answers["busy"] = writer.post("/v1/deploy/execute", BUSY, format="json", headers=ZH)
    answers["busy alone"] = writer.post(
        "/v1/deploy/execute", BUSY | {"instances": ["instance-1"]}, format="json", headers=ZH
    )
    answers["nothing there"] = reader.get("/v1/nothing", headers=ZH)
    answers["no JSON"] = writer.post("/v1/deploy/execute", b"{", content_type="application/json", headers=ZH)
    return {
        name: [error["detail"] for error in answer.json()["errors"]]
        for name, answer in answers.items()
        if answer.status_code >= 400
    }
