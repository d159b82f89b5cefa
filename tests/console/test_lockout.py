from __future__ import annotations

from django.conf import settings
from django.test import Client

from tests.support import demo_data


def test_too_many_wrong_passwords_pause_the_login_and_say_so(db: None, client: Client) -> None:
    demo_data.people()
    wrong = {"username": "viewer", "password": "wrong"}
    for _attempt in range(settings.AXES_FAILURE_LIMIT):
        answer = client.post("/login", wrong)
    assert answer.status_code == 429
    assert "Log-in is paused" in answer.content.decode()
    right = {"username": "viewer", "password": demo_data.PASSWORD}
    assert client.post("/login", right, headers={"Accept-Language": "zh-CN"}).status_code == 429
