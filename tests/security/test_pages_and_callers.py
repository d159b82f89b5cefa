"""Every page, those of the admin included × every kind of caller. Routes are found by themselves: a new one is in here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from deploys.models import Operation
from inventory.models import AuditEntry, Instance, Node, Service
from releasesite.models import ApiToken
from tests.releasesite.api.test_who_may_call import world
from tests.support.api import new_token, person

__all__ = ("world",)  # a fixture

# Ways in and out, signs of life, and the words of the admin's scripts. /metrics is a program's: 401, as under /v1.
OPEN = {"/login", "/logout", "/healthz", "/readyz", "/metrics", "/admin/login/", "/admin/logout/", "/admin/jsi18n/"}
# Only how the page looks, in a cookie; the admin's own redirect to the page where people change their password.
HARMLESS = {"/preferences", "/admin/password_change/", "/admin/password_change/done/"}
SAMPLES = {
    "name": "user-service",
    "service_name": "user-service",
    "instance_id": "instance-1",
    "node_name": "node-1",
    "public_id": "d-waiting",
    "operation_id": "d-waiting",
    "app_label": "inventory",
    "path": "x.js",
    "url": "inventory/",
}


def paths(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from paths(pattern.url_patterns, path)
        else:
            yield filled(path)


def filled(path: str) -> str:
    """A path that the pattern matches; keys are 1 where nothing better is known."""
    path = path.replace("/rollbacks/<operation_id:public_id>", "/rollbacks/r-waiting")
    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda match: SAMPLES.get(match[1], "1"), path)
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: SAMPLES.get(match[1], "1"), path)
    return path.replace("^", "").replace("$", "").replace("\\Z", "").replace("/?", "/")


# The 404 in JSON takes slashes too many.
OF_THE_API = ("/v1", "/[/]*v1")
EVERY = sorted({path for path in paths(get_resolver().url_patterns) if not path.startswith(OF_THE_API)})
CLOSED = [path for path in EVERY if path not in OPEN | HARMLESS]
PAGES = [path for path in CLOSED if not path.startswith("/admin/")]
ADMIN = [path for path in CLOSED if path.startswith("/admin/")]
# Pages that begin something: looking at them takes the right to do it.
FOR_OPERATORS = {"/deploy", "/services/user-service/roll-back", "/services/user-service/hold"}
CHANGING = {path for path in PAGES if path.endswith(("/cancel", "/retry", "/confirm", "/sync", "/release"))}
READABLE = [path for path in CLOSED if path not in CHANGING]


def browser(group: str | None, **options: Any) -> Client:
    client = Client(enforce_csrf_checks=options.pop("enforce_csrf_checks", False))
    client.force_login(person(group, **options))
    return client


def leads_to_login(answer: Any) -> bool:
    return answer.status_code == 302 and "/login" in answer["Location"]


def test_the_table_is_as_large_as_the_site() -> None:
    print(f"{len(PAGES)} pages, {len(ADMIN)} of the admin")
    assert len(PAGES) >= 14
    assert len(ADMIN) >= 60


def test_a_stranger_is_sent_to_the_login(world: Service) -> None:
    before = state()

    assert unlike(leads_to_login, {path: Client().get(path) for path in READABLE}) == {}
    assert unlike(leads_to_login, {path: Client().post(path) for path in CLOSED}) == {}
    assert state() == before


def test_an_api_token_opens_no_page(world: Service) -> None:
    headers = {"Authorization": f"Bearer {new_token('deploy')}"}

    assert unlike(leads_to_login, {path: Client().get(path, headers=headers) for path in READABLE}) == {}


def test_without_csrf_nothing_is_taken(world: Service) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    before = state()

    assert unlike(is_refused, {path: client.post(path, {"x": "y"}) for path in CLOSED}) == {}
    assert state() == before


def test_a_viewer_looks_and_changes_nothing(world: Service) -> None:
    client = browser("viewer")
    before = state()

    looked = {path: client.get(path).status_code for path in PAGES}
    tried = {path: client.post(path, {"step": "start"}).status_code for path in PAGES}

    assert {path for path in CHANGING if looked.pop(path) != 405} == set()
    assert {path for path in FOR_OPERATORS if looked.pop(path) != 403} == set()
    assert set(looked.values()) <= {200, 204}, looked
    assert set(tried.values()) <= {200, 204, 403, 405}, tried
    assert {path for path in CHANGING | FOR_OPERATORS if tried[path] != 403} == set()
    assert state() == before


@pytest.mark.parametrize("group", [None, "viewer", "operator"])
def test_the_admin_is_for_admins(world: Service, group: str | None) -> None:
    client = browser(group)
    before = state()

    for send in (client.get, client.post):
        answers = {path: send(path) for path in ADMIN}
        assert unlike(lambda answer: is_refused(answer) or leads_to_login(answer), answers) == {}
    assert state() == before


def test_another_services_pages_are_not_there(world: Service) -> None:
    client = browser("admin", services=[])
    of_a_service = [path for path in PAGES if re.search("user-service|instance-1|d-waiting|r-waiting", path)]

    looked = {path: client.get(path).status_code for path in of_a_service}
    tried = {path: client.post(path).status_code for path in of_a_service}

    assert looked == {path: 405 if path in CHANGING else 404 for path in of_a_service}
    assert set(tried.values()) <= {404, 405}


def is_refused(answer: Any) -> bool:
    return bool(answer.status_code == 403)


def unlike(is_so: Callable[[Any], bool], answers: dict[str, Any]) -> dict[str, int]:
    """Paths whose answer is another."""
    return {path: answer.status_code for path, answer in answers.items() if not is_so(answer)}


def test_the_policy_is_on_every_page(world: Service) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    for path in EVERY:
        answer = client.get(path)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy, path
            assert "default-src 'none'" in policy
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert b"<script>" not in answer.content
            assert b' style="' not in answer.content, path


def state() -> list[Any]:
    """All that a page could have changed."""
    models: tuple[Any, ...] = (Operation, Instance, Service, Node, User, ApiToken)
    rows = [list(model.objects.order_by("pk").values()) for model in models]
    return [*rows, AuditEntry.objects.exclude(action__startswith="login").count()]
