"""What every answer has: an id, how long it may be kept, how many calls are left; and JSON wherever JSON is promised."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from rest_framework.test import APIClient

from deploys.models import Operation
from deploys.operations.start import DeployRequest, start_deploy
from releasesite.api.middleware import PROBES
from tests.support.api import caller, logged_in, person
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service

STATUS = "/v1/deploy/status/d"


@pytest.fixture
def deploy(db: None) -> Operation:
    make_instances(make_service(), make_node())
    request = DeployRequest(
        service="user-service", version="v2", instances=("instance-1",), package_url="http://p/x", deploy_id="d"
    )
    return start_deploy(access=SCHEDULER, request=request)


def code(answer: Any) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, answer.json()["errors"][0]["code"]


# Request ids.


@pytest.mark.parametrize("given", ["a", "run-17/step.3", "x" * 100, "0af7651916cd43dd8448eb211c80319c"])
def test_a_callers_request_id_comes_back(db: None, given: str) -> None:
    for client, path in ((caller(), "/v1/deploy/list"), (APIClient(), "/v1/nothing"), (Client(), "/login")):
        assert client.get(path, headers={"x-request-id": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 101, "a b", "a\tb", "é", '"; DROP', "<script>"])
def test_another_is_replaced_by_one_of_ours(given: str) -> None:
    answer = APIClient().get("/healthz", headers={"x-request-id": given})

    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-ID"])


# Caches.


def test_a_status_is_asked_for_again_and_not_sent_again(deploy: Operation) -> None:
    client = caller("read")
    first = client.get(STATUS)

    same = client.get(STATUS, headers={"if-none-match": first.headers["ETag"]})

    assert (same.status_code, same.content) == (304, b"")
    for answer in (first, same):
        assert set(answer.headers["Cache-Control"].split(", ")) == {"private", "no-cache"}
    deploy.targets.update(status="in_progress")
    changed = client.get(STATUS, headers={"if-none-match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_a_rollbacks_status_is_too(deploy: Operation) -> None:
    Operation.objects.update(kind="rollback")
    client = caller("read")
    etag = client.get("/v1/rollback/status/d").headers["ETag"]

    assert client.get("/v1/rollback/status/d", headers={"if-none-match": etag}).status_code == 304


def test_who_may_not_see_it_learns_nothing_from_an_etag(deploy: Operation) -> None:
    etag = caller("read").get(STATUS).headers["ETag"]

    answer = APIClient().get(STATUS, headers={"if-none-match": etag})
    foreign = caller("read", [make_service("other")]).get(STATUS, headers={"if-none-match": etag})

    assert (answer.status_code, answer.headers["Cache-Control"]) == (401, "no-store")
    assert (foreign.status_code, foreign.headers["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize(
    "path", ["/v1/deploy/list", "/v1/deploy/logs/d", "/v1/service/user-service/instances", "/v1/schema", "/v1/nothing"]
)
def test_other_calls_are_kept_nowhere(deploy: Operation, path: str) -> None:
    assert caller("read").get(path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/service/user-service", "/admin/", "/login", "/nowhere"])
def test_neither_are_pages(deploy: Operation, path: str) -> None:
    answer = logged_in(person("admin")).get(path)

    assert "no-store" in answer.headers["Cache-Control"]


# Limits.


def test_every_answer_tells_how_many_calls_are_left(db: None, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = {**settings.API_CALLS_PER_MINUTE, "read": 2}
    client = caller()

    answers = [client.get("/v1/deploy/list") for _ in range(4)]

    # The minute may turn in between, which starts the count anew.
    assert any(answer.status_code == 429 for answer in answers)
    for answer in answers:
        assert answer.headers["RateLimit-Limit"] == "2"
        assert 1 <= int(answer.headers["RateLimit-Reset"]) <= 60
        if answer.status_code == 429:
            assert answer.headers["RateLimit-Remaining"] == "0"
            assert answer.headers["Retry-After"] == answer.headers["RateLimit-Reset"]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers[:2]] in (["1", "0"], ["0", "1"], ["1", "1"])
    assert client.post("/v1/deploy/execute").headers["RateLimit-Limit"] == str(settings.API_CALLS_PER_MINUTE["write"])


def test_a_stranger_has_no_budget_to_be_told_of(db: None) -> None:
    assert "RateLimit-Limit" not in APIClient().get("/v1/deploy/list").headers


# Host names.


@pytest.fixture
def strict_hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["releases.example.com"]


@pytest.mark.parametrize("path", PROBES)
def test_probes_and_metrics_answer_to_any_host_name(strict_hosts: None, db: None, path: str) -> None:
    for host in ("10.0.0.7:8000", "anything.cluster.local", "[::1]:8000", "under_score"):
        assert caller("read").get(path, headers={"host": host}).status_code in (200, 503)


def test_the_api_refuses_another_in_json(strict_hosts: None, db: None) -> None:
    for path in ("/v1/deploy/list", "/v1", "//v1/deploy/list"):
        assert code(caller().get("/", PATH_INFO=path, headers={"host": "other.example.com"})) == (
            400,
            "host_not_allowed",
        )
    assert caller().get("/v1/deploy/list", headers={"host": "releases.example.com"}).status_code == 200


def test_a_page_refuses_another_in_html(strict_hosts: None, db: None) -> None:
    answer = Client().get("/login", headers={"host": "other.example.com"})

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/html; charset=utf-8")


# JSON wherever it is promised.


@pytest.mark.parametrize("path", ["//v1/deploy/list", "///v1", "//v1/", "//v1//deploy/list", "/v1//deploy/list"])
def test_a_slash_too_many_is_a_json_404(path: str) -> None:
    client = APIClient()
    for method in (client.get, client.post, client.options):
        assert code(method("/", PATH_INFO=path)) == (404, "not_found")


def test_an_error_outside_of_a_view_is_json_for_the_api(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_request", fail)
    client = Client(raise_request_exception=False)

    answer = client.get("/v1/deploy/list")

    assert code(answer) == (500, "error")
    assert b"secret" not in answer.content
    assert client.get("/").headers["Content-Type"].startswith("text/html")


def test_options_tells_the_methods(db: None) -> None:
    for path, methods in {"/v1/deploy/list": "GET", "/v1/deploy/execute": "POST"}.items():
        answer = caller().options(path)

        assert answer.status_code == 200
        assert methods in answer.headers["Allow"]
        assert answer.json() == {"methods": answer.headers["Allow"].split(", ")}
    assert APIClient().options("/v1/deploy/list").status_code == 401


# Bodies.


def post(body: bytes, **headers: str) -> Any:
    return caller().post("/v1/deploy/execute", body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate", "identity, gzip"])
def test_a_compressed_body_is_415(db: None, encoding: str) -> None:
    assert code(post(b"\x1f\x8b\x08\x00", **{"content-encoding": encoding})) == (415, "unsupported_media_type")


def test_one_that_is_as_it_is_may_say_so(db: None) -> None:
    assert code(post(b"{}", **{"content-encoding": "identity"})) == (400, "required")


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (b'{"version": "v1", "version": "v2"}', ["version"]),
        (b'{"version": "v1", "\\u0076ersion": "v2"}', ["version"]),
        (b'{"a": 1, "a": 1, "b": [{"c": {}, "c": {}}]}', ["c", "a"]),
        (b'[{"a": 1, "a": 2}]', ["a"]),
    ],
)
def test_a_key_that_is_given_twice_is_refused_by_name(db: None, body: bytes, keys: list[str]) -> None:
    answer = post(body)

    assert answer.status_code == 400
    assert [(error["code"], error["attr"]) for error in answer.json()["errors"]] == [
        ("duplicate_key", key) for key in keys
    ]


@pytest.mark.parametrize(
    "body",
    [b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}", b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1e999999}', b'{"a": -0}'],
)
def test_looking_for_them_chokes_on_nothing(db: None, body: bytes) -> None:
    assert post(body).status_code == 400


def test_a_query_key_that_is_given_twice_is_refused_by_name(db: None) -> None:
    for path in ("/v1/deploy/list?limit=1&limit=2", "/v1/rollback/list?service=a&service=a"):
        assert code(caller().get(path)) == (400, "duplicate_key")


def test_the_limit_of_the_documented_proxy_is_above_ours() -> None:
    text = (django_settings.BASE_DIR / "packaging/nginx/release.conf").read_text()

    [megabytes] = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) > 4


@pytest.mark.parametrize("name", ["docs/quick_start.md", "docs/zh/quick_start.md"])
def test_every_sample_of_a_change_is_safe_to_repeat(name: str) -> None:
    text = (django_settings.BASE_DIR / name).read_text()
    samples = re.findall(r"/v1/(deploy/execute|rollback/\w+) \\\n[^\n]*\n  -d '(\{.*?\})'", text, re.DOTALL)

    assert len(samples) >= 4
    for path, body in samples:
        wanted = {"deploy_id"} if path == "deploy/execute" else {"rollback_id", "target_version"}
        assert wanted <= set(json.loads(body))
