"""docs/database_roles.sql on a real server: with it everything still works, and each role can do no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.private_postgres import PrivatePostgres, private_postgres
from tests.support.webhook_receiver import Receiver, receiver

__all__ = ("receiver",)

pytestmark = pytest.mark.timeout(300)

ROLES = Path(settings.BASE_DIR) / "docs/database_roles.sql"
# What web does: an admin's inventory, a token, a person's login; a deploy, a rollback, a report and a sync by a program.
WEB = """
import datetime, json, pathlib, sys, time, django
django.setup()
from django.test import Client
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from inventory.actors import SYSTEM
from deploys.models import Hold
from deploys.webhook_models import EventType, Webhook, WebhookDelivery
from inventory.editing.file.apply import import_inventory
from releasesite.models import ApiToken
root, url, hook = sys.argv[1:]
import_inventory(json.dumps({
    "services": [{"name": "shop", "restart_command": 'while [ -e "$RELEASE_ROOT/hold" ]; do sleep 0.02; done'}],
    "nodes": [{"name": "here", "host": "127.0.0.1", "transport": "local"}],
    "instances": [{"instance_id": "shop-1", "service": "shop", "node": "here", "port": 8001, "deploy_root": root}],
}).encode(), filename="inventory.yaml", actor=SYSTEM)
Webhook.objects.create(name="hook", url=hook, events=EventType.values, secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
ada = User.objects.create_superuser("ada", password="correct horse battery")
ada.groups.add(Group.objects.get(name="admin"))
deploy, report = (ApiToken.objects.issue(name=s, scope=s)[1] for s in ("deploy", "report"))
def api(method, path, body=None, token=deploy):
    send = getattr(Client(), method)
    more = {"data": body, "content_type": "application/json"} if body is not None else {}
    answer = send(path, headers={"Authorization": f"Bearer {token}"}, **more)
    assert answer.status_code in (200, 202), (path, answer.status_code, answer.content)
    return answer.json()
def wait(kind, public_id):
    for _ in range(600):
        status = api("get", f"/v1/{kind}/status/{public_id}")
        if status["completed_at"]:
            return status["status"]
        time.sleep(0.1)
    return "still " + status["status"]
said = []
for version in ("v1", "v2"):
    api("post", "/v1/deploy/execute", {"service": "shop", "version": version, "instances": ["shop-1"],
        "package_url": url, "deploy_id": f"d-{version}"})
    said.append(wait("deploy", f"d-{version}"))
api("post", "/v1/rollback/instance", {"instance_id": "shop-1", "rollback_id": "r-1", "hold": True})
said.append(wait("rollback", "r-1"))
api("delete", "/v1/service/shop/hold")
soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)).isoformat()
api("put", "/v1/service/shop/hold", {"reason": "ends by itself", "until": soon})
api("post", "/v1/instance/shop-1/report", {"health": "healthy"}, report)
api("post", "/v1/service/shop/sync", {})
for _ in range(300):
    if not Hold.objects.filter(released_at=None).exists():
        break
    time.sleep(0.1)
said.append([*Hold.objects.order_by("pk").values_list("released_by", flat=True)])
hold = pathlib.Path(root, "hold")
hold.touch()
api("post", "/v1/deploy/execute", {"service": "shop", "version": "v1", "instances": ["shop-1"], "package_url": url,
    "deploy_id": "d-3"})
api("post", "/v1/deploy/cancel/d-3", {})
hold.unlink()
said.append(wait("deploy", "d-3") in ("cancelled", "completed"))
client = Client()
assert client.post("/login", {"username": "ada", "password": "wrong"}).status_code == 200
assert client.post("/login", {"username": "ada", "password": "correct horse battery"}).status_code == 302
for page in ("/", "/history", "/services/shop", "/deploys/d-v1", "/admin/", "/admin/inventory/auditentry/",
             "/admin/inventory/service/", "/admin/django_q/ormq/", "/admin/deploys/worker/"):
    assert client.get(page).status_code == 200, page
for _ in range(300):
    if not WebhookDelivery.objects.filter(status="pending").exists():
        break
    time.sleep(0.1)
said.append([*WebhookDelivery.objects.order_by("pk").values_list("status", "error")])
Webhook.objects.all().delete()
ApiToken.objects.get(name="deploy").revoke(actor=SYSTEM)
call_command("audit_verify")
print(json.dumps(said))
"""


@contextmanager
def postgres_with_roles() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            for _twice in range(2):
                connection.execute(ROLES.read_text().encode())
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with postgres_with_roles() as server:
        yield server


@pytest.fixture
def fresh_postgres() -> Iterator[PrivatePostgres]:
    with postgres_with_roles() as server:
        yield server


def url_of(postgres: PrivatePostgres, role: str) -> str:
    scheme, rest = postgres.url.split("://", 1)
    return f"{scheme}://{role}@{rest.split('@', 1)[1]}"


def test_everything_works_with_them(
    fresh_postgres: PrivatePostgres, package_host: PackageHost, receiver: Receiver, tmp_path: Path
) -> None:
    shared = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "releasesite.settings",
        "RELEASE_DATA_DIR": str(tmp_path / "data"),
        "RELEASE_PACKAGE_HOSTS": package_host.netloc,
        "RELEASE_WEBHOOK_HOSTS": receiver.netloc,
        "ALLOWED_HOSTS": "testserver",
        "RELEASE_SYNC_SECONDS": "10",
        "SECRET_KEY": "one and the same for both, and long enough for anybody",
    }
    url = package_host.add("p.tar.gz", package({"app": "x"}))
    log = tmp_path / "worker.log"
    with log.open("wb") as file:
        worker = subprocess.Popen(
            (sys.executable, "manage.py", "worker"),
            cwd=settings.BASE_DIR,
            env={**shared, "DATABASE_URL": url_of(fresh_postgres, "release_worker")},
            stdout=file,
            stderr=file,
        )
    try:
        web = subprocess.run(
            (sys.executable, "-c", WEB, str(tmp_path / "root"), url, receiver.url),
            cwd=settings.BASE_DIR,
            env={**shared, "DATABASE_URL": url_of(fresh_postgres, "release_web")},
            capture_output=True,
            text=True,
            timeout=200,
        )
    finally:
        worker.terminate()
        worker.wait(timeout=60)

    said = log.read_text()
    assert web.returncode == 0, web.stderr[-3000:] + said[-3000:]
    ended, released, sent = ["completed"] * 3, ["deploy", "system"], [["sent", ""]] * 8
    assert json.loads(web.stdout.splitlines()[-1]) == [*ended, released, True, sent]
    assert "permission denied" not in said + web.stderr, said


REFUSED = {
    "release_worker": [
        "SELECT password FROM auth_user",
        "SELECT digest FROM releasesite_apitoken",
        "SELECT session_data FROM django_session",
        "INSERT INTO releasesite_apitoken_services (apitoken_id, service_id) VALUES ('x', 1)",
        "UPDATE inventory_service SET restart_command = 'id'",
        "UPDATE inventory_service SET signing_key = ''",
        "UPDATE inventory_node SET ssh_host_key = 'x'",
        "UPDATE deploys_webhook SET url = 'https://elsewhere.example.com'",
        "DELETE FROM deploys_webhook",
        "UPDATE inventory_instance SET deploy_root = '/'",
        "UPDATE inventory_statuschange SET actor_name = 'bob'",
        "INSERT INTO django_q_schedule (func) VALUES ('os.system')",
    ],
    "release_web": [
        "INSERT INTO deploys_package (version) VALUES ('v1')",
        "UPDATE deploys_package SET sha256 = ''",
        "UPDATE deploys_logline SET text = ''",
        "UPDATE inventory_statuschange SET actor_name = 'bob'",
        "INSERT INTO django_q_schedule (func) VALUES ('os.system')",
        "SELECT nextval('deploys_fence')",
        "DELETE FROM deploys_operation",
    ],
    "both": [
        "UPDATE inventory_auditentry SET actor_name = 'bob'",
        "DELETE FROM inventory_auditentry",
        "TRUNCATE inventory_auditentry",
        "ALTER TABLE inventory_auditentry DISABLE TRIGGER USER",
        "DROP TABLE deploys_logline",
        "CREATE TABLE mine (x int)",
        "CREATE ROLE mine SUPERUSER",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SET session_replication_role = replica",
    ],
}


@pytest.mark.parametrize("role", ["release_web", "release_worker"])
def test_nothing_more_is_allowed(postgres: PrivatePostgres, role: str) -> None:
    with psycopg.connect(url_of(postgres, role), autocommit=True) as connection:
        for statement in REFUSED[role] + REFUSED["both"]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_a_worker_may_give_out_claims_above_those_that_nodes_have_seen(postgres: PrivatePostgres) -> None:
    with psycopg.connect(url_of(postgres, "release_worker"), autocommit=True) as connection:
        connection.execute("SELECT setval('deploys_fence', last_value + 1000) FROM deploys_fence")


def test_every_table_is_accounted_for(postgres: PrivatePostgres) -> None:
    """A new table that no role was given would only be missed in production."""
    with psycopg.connect(postgres.url) as connection:
        found: list[Any] = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname = 'public'"
            " AND NOT has_table_privilege('release_web', pg_class.oid, 'SELECT')"
        ).fetchall()
    assert found == []
