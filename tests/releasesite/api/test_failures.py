from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import get_resolver
from rest_framework.test import APIClient

from inventory.wire.budgets import Budget
from releasesite import __version__
from releasesite.api.permissions import ScopePermission
from tests.support.api import caller, logged_in, person


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()
    assert set(body) == {"type", "errors"}
    assert all(set(problem) == {"code", "detail", "attr"} for problem in body["errors"])
    return answer.status_code, body["type"], body["errors"][0]["code"]


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/deploy", "/v1/deploy/list/", "/v1/deploy/status/a%0Ab", "/v1/%00"]
)
def test_an_unknown_path_is_a_json_404(path: str) -> None:
    assert error(APIClient().get(path)) == (404, "client_error", "not_found")
    assert error(APIClient().post(path)) == (404, "client_error", "not_found")


def test_a_wrong_method_is_a_json_405(db: None) -> None:
    assert error(caller().get("/v1/deploy/execute")) == (405, "client_error", "method_not_allowed")
    assert error(caller().patch("/v1/deploy/list")) == (405, "client_error", "method_not_allowed")


def test_any_accept_header_gets_json(db: None) -> None:
    answer = caller().get("/v1/deploy/list", HTTP_ACCEPT="text/html")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")


def test_a_view_that_names_no_scope_is_closed(db: None) -> None:
    class Forgetful:
        pass

    class Request:
        method = "GET"

    assert ScopePermission().has_permission(Request(), Forgetful()) is False  # type: ignore[arg-type]


@pytest.fixture(
    params=[psycopg.OperationalError, psycopg.errors.DiskFull, psycopg.errors.IdleInTransactionSessionTimeout]
)
def no_database(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> None:
        with connection.wrap_database_errors:
            raise request.param("connection refused: password=secret")

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", refuse)
    yield


def test_without_a_database_calls_are_503_and_safe_to_repeat(no_database: None) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Bearer rxt_something")

    for answer in (client.get("/v1/deploy/list"), client.post("/v1/deploy/execute", {}, format="json")):
        assert error(answer) == (503, "server_error", "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert b"secret" not in answer.content


def test_without_a_database_a_page_says_so(no_database: None) -> None:
    client = Client(raise_request_exception=False)
    client.cookies[settings.SESSION_COOKIE_NAME] = "of somebody"

    answer = client.get("/", headers={"accept-language": "zh-hans"})

    assert answer.status_code == 503
    assert "数据库暂时不可用" in answer.content.decode()
    assert int(answer.headers["Retry-After"]) > 0
    assert b"secret" not in answer.content


def test_another_error_is_no_such_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_request", fail)

    answer = Client(raise_request_exception=False).get("/")

    assert answer.status_code == 500
    assert b"secret" not in answer.content


def test_without_a_database_health_still_answers(no_database: None) -> None:
    assert APIClient().get("/healthz").json() == {"status": "ok", "version": __version__}


def test_without_a_database_the_system_is_not_ready(no_database: None) -> None:
    assert error(APIClient().get("/readyz")) == (503, "server_error", "database_unavailable")


def test_a_caller_over_the_limit_is_told_how_long_to_wait(db: None, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = {"read": 3, "write": 1}
    client, other = caller("read"), caller("read")

    answers = [client.get("/v1/deploy/list") for _ in range(5)]

    # The minute may turn in between, which starts the count anew.
    throttled = [answer for answer in answers if answer.status_code == 429]
    assert throttled
    assert error(throttled[0]) == (429, "client_error", "throttled")
    assert 1 <= int(throttled[0].headers["Retry-After"]) <= 60
    assert other.get("/v1/deploy/list").status_code == 200


def test_a_poller_over_its_limit_can_still_write(db: None, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = {"read": 0, "write": 10, "urgent": 10}
    client = logged_in(person("operator"))

    assert client.get("/v1/deploy/list").status_code == 429
    assert client.post("/v1/deploy/retry/deploy-1").status_code == 404


DOCUMENTS = ("docs/api.md", "docs/zh/api.md")
STOPS: dict[tuple[str, str], dict[str, str]] = {
    ("post", "/v1/rollback/instance"): {"instance_id": "gone"},
    ("post", "/v1/rollback/batch"): {"service": "gone", "target_version": "v1"},
    ("post", "/v1/rollback/retry/gone"): {},
    ("post", "/v1/rollback/cancel/gone"): {},
    ("post", "/v1/deploy/cancel/gone"): {},
    ("put", "/v1/service/gone/hold"): {"reason": "x"},
    ("delete", "/v1/service/gone/hold"): {},
}


def test_a_scheduler_in_a_loop_can_still_roll_back_and_stop(db: None, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = {"read": 0, "write": 0, "urgent": len(STOPS)}
    client = caller()

    assert client.post("/v1/deploy/execute", {}).status_code == 429
    assert client.post("/v1/deploy/retry/gone").status_code == 429
    for (method, path), body in STOPS.items():
        assert getattr(client, method)(path, body).status_code == 404, path


def test_what_rolls_back_stops_keeps_or_holds_is_urgent_and_nothing_else_is() -> None:
    views = {str(each.pattern): getattr(each.callback, "cls", None) for each in patterns(get_resolver())}
    urgent = {path for path, view in views.items() if getattr(view, "write_budget", Budget.WRITE) == Budget.URGENT}

    assert urgent == {
        path for path in views if re.search(r"^v1/.*(rollback/(instance|batch|retry)|cancel|confirm|hold\b)", path)
    }


def patterns(resolver: Any) -> Iterator[Any]:
    for each in resolver.url_patterns:
        yield from patterns(each) if hasattr(each, "url_patterns") else [each]


def test_what_is_urgent_has_a_limit_of_its_own(db: None, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = {"read": 0, "write": 10, "urgent": 0}
    client = caller()

    for (method, path), body in STOPS.items():
        answer = getattr(client, method)(path, body)
        assert error(answer) == (429, "client_error", "throttled"), path
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert client.post("/v1/deploy/retry/gone").status_code == 404


def test_the_limits_stand_in_the_documents_and_in_the_schema(db: None, settings: Any) -> None:
    document = caller("read").get("/v1/schema").json()
    texts = [document["info"]["description"], *((settings.BASE_DIR / name).read_text() for name in DOCUMENTS)]

    for text in texts:
        for limit in settings.API_CALLS_PER_MINUTE.values():
            assert re.search(rf"\b{limit}\b", text)
