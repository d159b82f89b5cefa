from __future__ import annotations

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

pytest_plugins = (
    "tests.support.lying_node",
    "tests.support.package_host",
    "tests.support.sshd",
    "tests.support.work_loop",
)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Lets tests that commit empty the tables afterwards, the append-only audit included."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inventory_auditentry DISABLE TRIGGER audit_no_truncate")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: once Playwright has started, an event loop runs in this thread and `asyncio.run` can't.

    xdist hands tests out in this order, those of one file to several processes: a resource of the machine's is a process's own.
    """
    items.sort(key=_needs_a_browser)


def _needs_a_browser(item: pytest.Item) -> bool:
    return "console" in item.path.parts
