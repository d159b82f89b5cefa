"""(c) The big answers over HTTP, each against the same answer by plain psycopg and orjson; and the console's pages.

Ours comes through gunicorn, with token, rate limit and log line; the plain one is made in this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TypeVar

import requests

from bench import plain
from bench.results import Table
from bench.site import Foundation, Site, running_site

T = TypeVar("T")

INSTANCES = 10_000
PAST_DEPLOYS = 10
TIMES = 10
EXECUTIONS = 3
SERVICE = "large"


def api(base: Foundation) -> list[Table]:
    from inventory.models import Service
    from tests.support.past import make_instances_at_once, make_past_deploys

    service = Service.objects.create(name=SERVICE)
    make_instances_at_once(service, INSTANCES)
    past = make_past_deploys(service, PAST_DEPLOYS)
    with running_site(base, has_worker=False) as site:
        tables = [_status(site, past[-1]), _unchanged(site, past[-1]), _versions(site), _pages(site, past[-1])]
        return [*tables, _execute(site)]


def _status(site: Site, deploy_id: str) -> Table:
    table = _table("api-status", f"Status of a deploy with {INSTANCES:,} targets")
    return _both(
        table,
        lambda: site.get(f"/v1/deploy/status/{deploy_id}").content,
        lambda: plain.status(site.database, deploy_id),
    )


def _unchanged(site: Site, deploy_id: str) -> Table:
    """Whose asker has the answer already. By the library's own client: a comfortable one takes longer than the answer."""
    table = Table(
        key="api-status-unchanged",
        title=f"The same status, asked again with its ETag: nothing changed ({INSTANCES:,} targets)",
        unit="ms",
        goal="≤ 3 ms",
    )
    path = f"/v1/deploy/status/{deploy_id}"
    headers = {
        "Authorization": str(site.http.headers["Authorization"]),
        "If-None-Match": site.get(path).headers["ETag"],
    }
    connection = HTTPConnection(site.address.removeprefix("http://"))

    def ask() -> int:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            return answer.status

    answers = [_timed(ask) for _ in range(10 * TIMES)]
    assert {status for _, status in answers} == {304}
    table.add("304", [milliseconds for milliseconds, _ in answers[TIMES:]])
    return table


def _versions(site: Site) -> Table:
    table = _table("api-versions", f"Versions of a service with {INSTANCES:,} instances")
    return _both(
        table,
        lambda: site.get(f"/v1/service/{SERVICE}/instances/versions").content,
        lambda: plain.versions(site.database, SERVICE),
    )


def _table(key: str, title: str) -> Table:
    return Table(key=key, title=title, unit="ms", ratio_to="psycopg + orjson", goal="≤ 2 × psycopg + orjson")


def _both(table: Table, ours: Callable[[], bytes], least: Callable[[], bytes]) -> Table:
    """Taken in turns, so that what else the machine does meets both alike."""
    found = [(_timed(ours), _timed(least)) for _ in range(TIMES + 2)][2:]
    table.add("this system", [pair[0][0] for pair in found], f"{len(found[0][0][1]):,} bytes")
    table.add("psycopg + orjson", [pair[1][0] for pair in found], f"{len(found[0][1][1]):,} bytes")
    return table


def _execute(site: Site) -> Table:
    table = Table(
        key="api-execute",
        title=f"execute for {INSTANCES:,} instances",
        unit="ms",
        ratio_to="psycopg + orjson",
        goal="≤ 1,000 ms",
    )
    names = [f"{SERVICE}-{number}" for number in range(1, INSTANCES + 1)]
    ours, least = [], []
    for number in range(EXECUTIONS):
        ours.append(_execute_ours(site, names, f"large-{number}"))
        site.post(f"/v1/deploy/cancel/large-{number}", {})
        least.append(_execute_plain(site, names, f"plain-{number}"))
    table.add("this system", ours, "validated, locked, checked, audited, queued")
    table.add("psycopg + orjson", least, "the same rows, unchecked")
    return table


def _execute_ours(site: Site, names: list[str], deploy_id: str) -> float:
    body = {
        "service": SERVICE,
        "version": "v2",
        "instances": names,
        "package_url": "http://127.0.0.1/none.tar.gz",
        "deploy_id": deploy_id,
    }
    return _timed(lambda: site.post("/v1/deploy/execute", body))[0]


def _execute_plain(site: Site, names: list[str], deploy_id: str) -> float:
    """Undone afterwards; the time to commit, which is missing then, is one write to the disk."""
    with site.database.transaction(force_rollback=True):
        return _timed(lambda: plain.execute(site.database, SERVICE, deploy_id, names))[0]


def _pages(site: Site, deploy_id: str) -> Table:
    """Time to the first byte, for a person who is logged in."""
    table = Table(
        key="pages",
        title=f"Console pages with {INSTANCES:,} instances and {INSTANCES * PAST_DEPLOYS:,} past targets, first byte",
        unit="ms",
    )
    with _browser() as browser:
        for name, path in _page_paths(deploy_id).items():
            table.add(name, [_first_byte(browser, f"{site.address}{path}") for _ in range(TIMES + 1)][1:])
    return table


def _page_paths(deploy_id: str) -> dict[str, str]:
    from django.urls import reverse

    return {
        "overview": reverse("overview"),
        "service": reverse("service", args=[SERVICE]),
        "deploy": reverse("deploy", args=[deploy_id]),
        "history": reverse("history"),
        "instance": reverse("instance", args=[f"{SERVICE}-1"]),
        "roll back": reverse("roll-back", args=[SERVICE]),
    }


@contextmanager
def _browser() -> Iterator[requests.Session]:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("bench"), backend=settings.AUTHENTICATION_BACKENDS[-1])
    with requests.Session() as browser:
        browser.cookies.set(settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value)
        yield browser


def _first_byte(browser: requests.Session, url: str) -> float:
    with browser.get(url, stream=True, allow_redirects=False, timeout=60) as answer:
        assert answer.status_code == 200, f"{url}: {answer.status_code}"
        return answer.elapsed.total_seconds() * 1000


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    """(milliseconds, what it returned)"""
    begun = time.perf_counter()
    result = call()
    return (time.perf_counter() - begun) * 1000, result
