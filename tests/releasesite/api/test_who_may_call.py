"""Every endpoint of the API × every kind of caller. An endpoint without a row fails the first test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from deploys.models import Operation, Package
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind
from inventory.models import Instance, Service
from inventory.security.access import Scope
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.api import (
    caller,
    expired_token,
    logged_in,
    new_token,
    person,
    revoked_token,
    with_token,
)
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service


@dataclass(frozen=True, kw_only=True)
class Row:
    """How to call an endpoint well, what that takes, and what it answers to a token of another service."""

    method: str
    path: str
    needs: Scope
    ok: int = 200
    foreign: int = 404
    # To a token with the scope that is limited to the very service, where that is not `ok`.
    limited: int | None = None
    body: dict[str, Any] = field(default_factory=dict)


EXECUTE = {"service": "user-service", "version": "v2", "instances": ["instance-5"], "package_url": "http://p/v2.tgz"}
BATCH = {"service": "user-service", "target_version": "v1", "instances": ["instance-5"]}
READ, DEPLOY, REPORT, INVENTORY = Scope.READ, Scope.DEPLOY, Scope.REPORT, Scope.INVENTORY

ROWS = {
    "deploy-execute": Row(method="post", path="/v1/deploy/execute", needs=DEPLOY, ok=202, body=EXECUTE),
    "deploy-list": Row(method="get", path="/v1/deploy/list", needs=READ, foreign=200),
    "deploy-status": Row(method="get", path="/v1/deploy/status/d-waiting", needs=READ),
    "deploy-logs": Row(method="get", path="/v1/deploy/logs/d-waiting", needs=READ),
    "deploy-cancel": Row(method="post", path="/v1/deploy/cancel/d-waiting", needs=DEPLOY, ok=202),
    "deploy-confirm": Row(method="post", path="/v1/deploy/confirm/d-confirm", needs=DEPLOY, ok=202),
    "deploy-retry": Row(method="post", path="/v1/deploy/retry/d-failed", needs=DEPLOY, ok=202),
    "rollback-instance": Row(
        method="post",
        path="/v1/rollback/instance",
        needs=DEPLOY,
        ok=202,
        body={"instance_id": "instance-5", "target_version": "v1"},
    ),
    "rollback-batch": Row(method="post", path="/v1/rollback/batch", needs=DEPLOY, ok=202, body=BATCH),
    "rollback-list": Row(method="get", path="/v1/rollback/list", needs=READ, foreign=200),
    "rollback-status": Row(method="get", path="/v1/rollback/status/r-waiting", needs=READ),
    "rollback-logs": Row(method="get", path="/v1/rollback/logs/r-waiting", needs=READ),
    "rollback-cancel": Row(method="post", path="/v1/rollback/cancel/r-waiting", needs=DEPLOY, ok=202),
    "rollback-retry": Row(method="post", path="/v1/rollback/retry/r-failed", needs=DEPLOY, ok=202),
    "service-versions": Row(method="get", path="/v1/service/user-service/instances/versions", needs=READ),
    "service-instances": Row(method="get", path="/v1/service/user-service/instances", needs=READ),
    "service-sync": Row(method="post", path="/v1/service/user-service/sync", needs=DEPLOY, ok=202),
    "service-hold": Row(method="get", path="/v1/service/user-service/hold", needs=READ),
    "service-hold put": Row(method="put", path="/v1/service/user-service/hold", needs=DEPLOY, body={"reason": "x"}),
    "service-hold delete": Row(method="delete", path="/v1/service/user-service/hold", needs=DEPLOY),
    "instance-report": Row(
        method="post", path="/v1/instance/instance-5/report", needs=REPORT, body={"health": "healthy"}
    ),
    "instance-history": Row(method="get", path="/v1/instance/instance-5/history", needs=READ),
    "inventory": Row(method="get", path="/v1/inventory", needs=INVENTORY, foreign=200),
    "inventory put": Row(
        method="put",
        path="/v1/inventory",
        needs=INVENTORY,
        foreign=403,
        body={"services": [{"name": "user-service", "keep_releases": 7}]},
    ),
    "instance-retire": Row(method="delete", path="/v1/instance/instance-5", needs=INVENTORY, ok=204),
    "node-retire": Row(method="delete", path="/v1/node/spare", needs=INVENTORY, ok=204, foreign=403, limited=403),
    "schema": Row(method="get", path="/v1/schema", needs=READ, foreign=200),
    "docs": Row(method="get", path="/v1/docs", needs=READ, foreign=200),
}
# A signature in the link stands in for a token: tests/deploys/packages/test_artifact_links.py
SIGNED = {"artifact"}
SCOPES = {"read": {READ}, "deploy": {READ, DEPLOY}, "report": {REPORT}, "inventory": {READ, INVENTORY}}
SCOPE_FOR = {READ: "deploy", DEPLOY: "deploy", REPORT: "report", INVENTORY: "inventory"}
GROUPS = {"viewer": {READ}, "operator": {READ, DEPLOY}, "admin": set(Scope), None: set()}


@pytest.fixture
def world(db: None) -> Service:
    """One service with an unfinished and a failed deploy, one to be confirmed, and two rollbacks; one instance is free."""
    service = make_service()
    instances = make_instances(service, make_node(), count=6)
    make_node("spare")
    Package.objects.create(service=service, version="v1", release="v1", sha256="1" * 64, size_bytes=1, url="http://p/")
    _deploy("d-waiting", instances[0])
    _fail(_deploy("d-failed", instances[1]))
    _rollback("r-waiting", instances[2])
    _fail(_rollback("r-failed", instances[3]))
    _wait(_deploy("d-confirm", instances[5]))
    return service


def _deploy(public_id: str, instance: Instance) -> Operation:
    wanted = DeployRequest(
        service="user-service",
        version="v2",
        instances=(instance.instance_id,),
        package_url="http://p/v2.tgz",
        deploy_id=public_id,
    )
    return start_deploy(access=SCHEDULER, request=wanted)


def _rollback(public_id: str, instance: Instance) -> Operation:
    wanted = InstanceRollbackRequest(instance_id=instance.instance_id, target_version="v1", rollback_id=public_id)
    return start_instance_rollback(access=SCHEDULER, request=wanted)


def _fail(operation: Operation) -> None:
    ended = "2024-01-15T10:30:00Z"
    operation.targets.update(status="failed", error_code="node_unreachable", finished_at=ended)
    Operation.objects.filter(pk=operation.pk).update(status="failed", failed=1, finished_at=ended)


def _wait(operation: Operation) -> None:
    """To be confirmed."""
    operation.targets.update(
        status="in_progress", step="confirm", confirm_by=Now() + timedelta(minutes=1), ask_at=Now()
    )


def call(client: APIClient, row: Row) -> Any:
    send = getattr(client, row.method)
    return send(row.path, row.body, format="json") if row.method in ("post", "put") else send(row.path)


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, name) of every route."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif pattern.name:
            yield path, pattern.name


EVERY_ROW = pytest.mark.parametrize("name", ROWS)


def test_every_endpoint_has_a_row() -> None:
    of_the_api = {name for path, name in routes(get_resolver().url_patterns) if path.lstrip("^").startswith("v1/")}

    # A route with several methods has a row for each.
    assert of_the_api == {name.split()[0] for name in ROWS} | SIGNED


@EVERY_ROW
def test_without_a_token_nothing_is_said(world: Service, name: str) -> None:
    answer = call(APIClient(), ROWS[name])

    assert answer.status_code == (302 if name == "docs" else 401)


@EVERY_ROW
@pytest.mark.parametrize("make_token", [lambda: "rxt_unknown", lambda: "\u00e9", expired_token, revoked_token])
def test_a_token_that_is_unknown_expired_or_revoked_is_refused(world: Service, name: str, make_token: Any) -> None:
    answer = call(with_token(make_token()), ROWS[name])

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@EVERY_ROW
@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_can_do_what_its_scope_says_and_no_more(world: Service, name: str, scope: str) -> None:
    row = ROWS[name]

    answer = call(caller(scope, [world]), row)

    assert answer.status_code == ((row.limited or row.ok) if row.needs in SCOPES[scope] else 403), answer.content


@EVERY_ROW
def test_another_services_token_finds_nothing(world: Service, name: str) -> None:
    row = ROWS[name]

    answer = call(caller(SCOPE_FOR[row.needs], [make_service("other-service")]), row)

    assert answer.status_code == row.foreign
    assert b"instance-" not in answer.content or row.foreign == 404 or name == "schema"


@EVERY_ROW
def test_a_token_used_from_another_network_is_refused(world: Service, name: str) -> None:
    answer = call(with_token(new_token(allowed_networks=["10.0.0.0/8"])), ROWS[name])

    assert answer.status_code == 403


@EVERY_ROW
@pytest.mark.parametrize("group", GROUPS)
def test_a_person_can_do_what_their_group_may(world: Service, name: str, group: str | None) -> None:
    row = ROWS[name]

    answer = call(logged_in(person(group)), row)

    assert answer.status_code == (row.ok if row.needs in GROUPS[group] else 403), answer.content


@EVERY_ROW
def test_a_person_limited_to_other_services_finds_nothing(world: Service, name: str) -> None:
    row = ROWS[name]

    answer = call(logged_in(person("admin", services=[])), row)

    assert answer.status_code == row.foreign


@EVERY_ROW
def test_a_session_without_csrf_changes_nothing(world: Service, name: str) -> None:
    row = ROWS[name]

    answer = call(logged_in(person("admin"), sends_csrf=False), row)

    assert answer.status_code == (row.ok if row.method == "get" else 403)
    assert Operation.objects.filter(kind=Kind.DEPLOY).count() == 3
