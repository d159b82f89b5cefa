from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inventory.actors import SYSTEM
from inventory.models import AuditEntry, Service
from releasesite.api.addresses import client_address
from releasesite.models import ApiToken
from tests.support.api import caller, logged_in, new_token, person, with_token
from tests.support.fleet import make_service

LIST = "/v1/deploy/list"


def create_token(*arguments: str) -> str:
    stdout = StringIO()
    call_command("create_token", *arguments, stdout=stdout, stderr=StringIO())
    return stdout.getvalue().splitlines()[-1]


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def test_the_command_prints_a_token_that_works(db: None) -> None:
    secret = create_token("scheduler", "--scope", "deploy")

    assert secret.startswith("rxt_")
    assert with_token(secret).get(LIST).status_code == 200


def test_only_a_hash_is_stored(db: None) -> None:
    secret = create_token("scheduler", "--scope", "read")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t::text FROM releasesite_apitoken t UNION ALL SELECT e::text FROM inventory_auditentry e"
        )
        stored = " ".join(row[0] for row in cursor.fetchall())
    assert secret[15:] not in stored


def test_a_new_token_is_on_the_audit(db: None) -> None:
    create_token("scheduler", "--scope", "read")

    assert AuditEntry.objects.get(action="token.create").object_id == "scheduler"


def test_the_command_limits_services_days_and_networks(db: None) -> None:
    make_service("user-service")
    create_token(
        "ci", "--scope", "report", "--service", "user-service", "--expires-days", "30", "--network", "10.0.0.0/8"
    )

    token = ApiToken.objects.get()
    assert not token.all_services
    assert [service.name for service in token.services.all()] == ["user-service"]
    assert timedelta(days=29) < token.expiry - timezone.now() < timedelta(days=30)
    assert token.allowed_networks == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ci", "--scope", "admin"],
        ["ci", "--scope", "read", "--service", "unknown"],
        ["ci", "--scope", "read", "--network", "10.0.0.0/33"],
        ["ci", "--scope", "read", "--expires-days", "0"],
        ["c\ni", "--scope", "read"],
        ["ci"],
    ],
)
def test_the_command_refuses_what_it_does_not_know(db: None, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        create_token(*arguments)

    assert not ApiToken.objects.exists()


def test_a_token_whose_only_service_goes_does_not_grow_to_all(db: None) -> None:
    make_service("user-service")
    gone = make_service("gone")
    client = caller("read", [gone])
    Service.objects.filter(pk=gone.pk).delete()

    assert client.get("/v1/service/user-service/instances").status_code == 404


def test_a_revoked_token_says_so(db: None) -> None:
    token, secret = ApiToken.objects.issue(name="ci", scope="read")
    token.revoke(actor=SYSTEM)

    assert refused(with_token(secret).get(LIST)) == (401, "token_revoked")
    assert AuditEntry.objects.filter(action="token.revoke").count() == 1


def test_an_expired_token_says_so(db: None) -> None:
    secret = new_token(expires_in=timedelta(seconds=-1))

    assert refused(with_token(secret).get(LIST)) == (401, "token_expired")


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Token x", "Basic eDp5", "Bearer \u00ff"])
def test_a_malformed_header_is_401(db: None, client: Any, header: str) -> None:
    assert client.get(LIST, headers={"Authorization": header}).status_code == 401


def test_a_token_from_its_networks_is_let_in(db: None) -> None:
    client = with_token(new_token(allowed_networks=["127.0.0.1", "10.0.0.0/8"]))

    assert client.get(LIST, REMOTE_ADDR="10.9.8.7").status_code == 200
    assert refused(client.get(LIST, REMOTE_ADDR="11.9.8.7")) == (403, "network_not_allowed")
    assert refused(client.get(LIST, REMOTE_ADDR="11.9.8.7", HTTP_X_FORWARDED_FOR="10.1.1.1"))[0] == 403


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("9.9.9.9", "1.1.1.1", "9.9.9.9"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("", "1.1.1.1", ""),
        ("10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4:5678, 10.0.0.2:80", "1.2.3.4"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", '"[2001:DB8::1]:443"', "2001:db8::1"),
        ("10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, unknown", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "_hidden, 1.2.3.4:x", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%eth0", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4:5678:9, 1.2.3.999", "10.0.0.1"),
    ],
)
def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    settings: Any, peer: str, forwarded: str, expected: str
) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]

    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded)

    assert client_address(request) == expected


@pytest.mark.parametrize(
    "forwarded", ["1.2.3.4:5678", "unknown", "[2001:db8::1]:443", "fe80::1%eth0", "\x00", "x" * 5000]
)
def test_no_forwarded_address_breaks_the_login(db: None, settings: Any, client: Any, forwarded: str) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]

    for name in ("ann", "bob"):
        answer = client.post("/login", {"username": name, "password": "x"}, headers={"X-Forwarded-For": forwarded})

        assert answer.status_code == 200


def test_the_last_use_is_written_once_a_minute(db: None) -> None:
    client = caller("read")
    client.get(LIST)
    first = ApiToken.objects.get().last_used_at

    client.get(LIST)

    assert first is not None
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    client.get(LIST)
    newest = ApiToken.objects.get().last_used_at
    assert newest is not None
    assert newest >= first


def test_a_token_is_checked_by_one_query(db: None) -> None:
    client = caller("read", [make_service()])
    client.get(LIST)

    with CaptureQueriesContext(connection) as captured:
        client.get(LIST)

    assert sum("apitoken" in query["sql"] for query in captured) == 1


def test_a_token_goes_before_a_session(db: None) -> None:
    client = logged_in(person("admin"))
    client.credentials(HTTP_AUTHORIZATION="Bearer rxt_unknown")

    assert client.get(LIST).status_code == 401


def test_an_inactive_person_is_nobody(db: None) -> None:
    user = person("admin")
    client = logged_in(user)
    user.is_active = False
    user.save(update_fields=("is_active",))

    assert client.get(LIST).status_code == 401


def test_a_session_with_its_csrf_token_may_post(db: None) -> None:
    client = logged_in(person("operator"), sends_csrf=False)
    client.cookies["csrftoken"] = "a" * 32

    answer = client.post("/v1/deploy/cancel/deploy-1", HTTP_X_CSRFTOKEN="a" * 32)

    assert answer.status_code == 404
    assert refused(client.post("/v1/deploy/cancel/deploy-1", HTTP_X_CSRFTOKEN="b" * 32)) == (403, "csrf_failed")
