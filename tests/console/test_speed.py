"""Query counts that do not grow with the data; how long the pages take is the benchmarks' business."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deploys.states import TargetStatus
from tests.support import demo_data


@pytest.fixture
def person(db: None, client: Client) -> Iterator[Client]:
    demo_data.people()
    demo_data.worker_is_alive()
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
    yield client


def _queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


def _grow(name: str, *, instances: int, operations: int) -> None:
    service = demo_data.add_service(name, instances)
    for n in range(operations):
        demo_data.add_operation(service, f"{name}-past-{n}", [TargetStatus.COMPLETED] * instances, version=f"v0.{n}.0")
    failed = [TargetStatus.FAILED] * (instances // 2)
    running = [TargetStatus.IN_PROGRESS] * (instances - len(failed))
    demo_data.add_log(demo_data.add_operation(service, f"{name}-now", failed + running))


PAGES: dict[str, Callable[[str], str]] = {
    "overview": lambda name: "/",
    "service": lambda name: f"/services/{name}",
    "service filtered": lambda name: f"/services/{name}?q=-1&status=deploying",
    "operation": lambda name: f"/deploys/{name}-now",
    "operation past": lambda name: f"/deploys/{name}-past-0",
    "history": lambda name: "/history",
    "instance": lambda name: f"/instances/{name}-1",
    "search": lambda name: f"/search?q={name}",
    "node": lambda name: f"/nodes/{name}-node-1",
    "roll back": lambda name: f"/services/{name}/roll-back",
    "roll back a deploy": lambda name: f"/services/{name}/roll-back?deploy={name}-now",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_pages_query_count_does_not_grow_with_the_data(person: Client, name: str) -> None:
    _grow("small", instances=4, operations=2)
    before = _queries(person, PAGES[name]("small"))
    _grow("large", instances=120, operations=12)
    demo_data.many_services(30, instances=3)
    after = _queries(person, PAGES[name]("large"))
    assert after <= before
    assert after < 25


def test_nothing_new_costs_few_queries_and_no_body(person: Client) -> None:
    _grow("small", instances=4, operations=2)
    for path in ("/", "/services/small", "/deploys/small-now"):
        mark = person.get(path).context["mark"]
        with CaptureQueriesContext(connection) as queries:
            answer = person.get(path, {"mark": mark}, headers={"HX-Request": "true"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert len(queries) <= 10, path
