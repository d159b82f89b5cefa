"""Bodies as clients really send them, to gunicorn itself: chunked ones, and large ones that nobody wants."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

import pytest

from inventory.models import Instance
from tests.support.api import new_token
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.web import Web, running_web
from tests.support.worker import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = b"x" * (1024 * 1024)
TOO_LARGE = b'"' + b"x" * (6 * 1024 * 1024) + b'"'
DEPLOY = {"service": "user-service", "version": "v2", "instances": ["instance-1"], "package_url": "http://p/x"}


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker: Any) -> Iterator[Web]:
    with django_db_blocker.unblock(), running_web() as web:
        yield web


@pytest.fixture
def fleet(transactional_db: None) -> list[Instance]:
    return make_instances(make_service(), make_node())


@contextmanager
def connected(web: Web) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        yield connection


def ask(connection: socket.socket, path: str, token: str = "", *, body: bytes = b"", chunked: bool = False) -> Any:
    """(status, JSON, what is said of the connection)"""
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{bearer}{length}\r\n\r\n"
    connection.sendall(head.encode() + (in_chunks(body) if chunked else body))
    answer = HTTPResponse(connection, method="POST")
    answer.begin()
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status, json.loads(answer.read()), answer.headers["Connection"]


def in_chunks(body: bytes) -> bytes:
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_chunked_body_is_read(web: Web, fleet: list[Instance]) -> None:
    token = new_token()
    with connected(web) as connection:
        status, answer, _ = ask(connection, "/v1/deploy/execute", token, body=json.dumps(DEPLOY).encode(), chunked=True)
        assert (status, answer["status"]) == (202, "started")

        status, answer, _ = ask(connection, "/v1/service/user-service/sync", token, body=b'{"junk": 1}', chunked=True)
        assert (status, answer["errors"][0]["code"]) == (400, "unknown_field")
        status, answer, _ = ask(connection, "/v1/service/user-service/sync", token, body=b"junk", chunked=True)
        assert (status, answer["errors"][0]["code"]) == (400, "parse_error")
        status, answer, _ = ask(connection, "/v1/service/user-service/sync", token, chunked=True)
        assert status == 202
        status, answer, _ = ask(connection, "/v1/deploy/execute", token, body=TOO_LARGE, chunked=True)
        assert (status, answer["errors"][0]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_is_said_to_be_kept_is_kept(web: Web, fleet: list[Instance], chunked: bool) -> None:
    token = new_token()
    with connected(web) as connection:
        for path, bearer, body, expected in (
            ("/v1/deploy/execute", "", LARGE, 401),
            ("/v1/nothing", "", LARGE, 404),
            ("/v1/deploy/cancel/x", token, b"{}", 404),
            ("/v1/deploy/execute", token, TOO_LARGE, 413),
            ("//v1/deploy/execute", token, LARGE, 404),
            ("/v1/deploy/list", token, LARGE, 405),
            ("/v1/deploy/execute", token, json.dumps(DEPLOY).encode(), 202),
        ):
            status, _, kept = ask(connection, path, bearer, body=body, chunked=chunked)
            assert (status, kept) == (expected, "keep-alive")


def test_one_that_will_be_closed_is_said_to_be(web: Web, fleet: list[Instance]) -> None:
    with connected(web) as connection:
        head = "POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1000)

        answer = HTTPResponse(connection, method="POST")
        answer.begin()

        assert (answer.status, answer.headers["Connection"]) == (404, "close")
        assert json.loads(answer.read())["errors"][0]["code"] == "not_found"


def test_a_callers_request_id_stands_in_the_log(web: Web) -> None:
    with connected(web) as connection:
        connection.sendall(b"GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: run-17.of-ours\r\n\r\n")
        HTTPResponse(connection).begin()

    wait_for(lambda: '"request_id":"run-17.of-ours"' in web.log, what="the line", log=web.log_file)
