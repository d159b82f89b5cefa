from __future__ import annotations

import os
import shutil

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from tests.settings import OWNER

pytest_plugins = ("tests.support.package_host", "tests.support.sshd", "tests.support.drives")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Lets tests that commit empty the tables afterwards, the append-only audit included."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inventory_auditentry DISABLE TRIGGER audit_no_truncate")


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run's data folder goes with it, after its server has stopped."""
    if os.environ.get(OWNER) != str(os.getpid()):
        return
    if not os.environ.get("DATABASE_URL"):
        from releasesite.embedded_postgres.base import server

        server.release(wait=True)
    shutil.rmtree(os.environ["RELEASE_DATA_DIR"], ignore_errors=True)
