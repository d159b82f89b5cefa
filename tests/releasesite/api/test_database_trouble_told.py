"""What the database can't do just now is told alike by /readyz, doctor and the pages."""

from __future__ import annotations

import io
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from pytest_django import Settings
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from deploys.models import Worker
from deploys.operations.start import DeployRequest, start_deploy
from tests.support.api import logged_in, person
from tests.support.database import database_url
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.private_postgres import default_database


def ready() -> tuple[int, str]:
    answer = APIClient().get("/readyz")
    return answer.status_code, answer.json().get("status") or answer.json()["errors"][0]["code"]


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def doctor() -> str:
    text = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=text, no_color=True)
    return text.getvalue()


def short_of_connections() -> None:
    Worker.objects.create(
        name="host-1", host="host-1", pid=1, canary_at=Now(), trouble=Worker.Trouble.CONNECTIONS, trouble_at=Now()
    )


def test_a_missing_migration(db: None) -> None:
    MigrationRecorder.Migration.objects.filter(app="deploys").last().delete()  # type: ignore[union-attr]
    assert ready() == (503, "database_not_migrated")


def test_a_missing_right(db: None) -> None:
    execute("CREATE ROLE without_rights")
    execute("SET LOCAL ROLE without_rights")
    assert ready() == (503, "database_rights_missing")


def test_a_refused_login(django_db_blocker: DjangoDbBlocker) -> None:
    url = urlsplit(database_url())
    nobody = url._replace(netloc=f"nobody@{url.netloc.rpartition('@')[2]}").geturl()
    with django_db_blocker.unblock(), default_database(nobody):
        assert ready() == (503, "database_login_refused")


def test_a_shortage_of_connections_in_doctor(db: None) -> None:
    short_of_connections()
    assert "BAD  The database is short of connections" in doctor()


def test_a_read_only_database_in_doctor(db: None) -> None:
    execute("SET transaction_read_only = on")
    assert "BAD  The database is read-only" in doctor()


def test_a_shortage_of_connections_on_the_pages(db: None, settings: Settings) -> None:
    settings.PACKAGE_HOSTS = ("packages.example.com",)
    instances = make_instances(make_service(), make_node(), 1)
    url = "http://packages.example.com/v1.tar.gz"
    request = DeployRequest(service="user-service", version="v1", instances=ids(instances), package_url=url)
    operation = start_deploy(access=SCHEDULER, request=request)
    browser = logged_in(person("viewer"))
    short_of_connections()
    for path in ("/", f"/deploys/{operation.public_id}"):
        assert "The database is short of connections." in browser.get(path).content.decode()
