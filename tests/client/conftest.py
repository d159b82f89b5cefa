from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.client.world import World, build_world
from tests.support.private_postgres import default_database, private_postgres
from tests.support.web import running_web
from tests.support.worker import running_worker


@pytest.fixture(scope="package")
def world(django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Database, web process, worker and two instances: one for many tests, as they take seconds to start."""
    with ExitStack() as stack:
        postgres = stack.enter_context(private_postgres())
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(default_database(postgres.url))
        made = stack.enter_context(build_world(tmp_path_factory))
        stack.enter_context(running_worker(made.lab.environment))
        web = stack.enter_context(running_web(**made.lab.environment))
        yield made.served_at(web.url)
