"""Every form and action of the admin × every kind of person who gets in. A route without a row fails the first test.

There are two services, `shop` and `bank`, each on a node of its own, and whoever is limited to `shop` must find no
trace of `bank`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client
from django.urls import get_resolver, reverse
from pytest_django.fixtures import Settings

from inventory.models import Instance
from tests.releasesite.admin_rows import (
    ADMIN,
    EVERYONE,
    OF_NOTHING,
    OF_SHOP,
    OF_SHOP_WITH_ALL,
    ROOT,
    ROWS,
    SECTIONS,
    SHOPS,
    UNLIMITED,
    WITHOUT,
    Row,
)
from tests.releasesite.admin_world import World, make_world
from tests.releasesite.api.test_who_may_call import routes
from tests.support.api import person

pytestmark = pytest.mark.django_db

# What a request leaves behind that is no edit.
NO_EDIT = {"session", "logentry", "auditentry"}


@pytest.fixture
def world(db: None, settings: Settings) -> World:
    settings.WEBHOOK_HOSTS = ("hooks.example.com",)
    return make_world()


def client_of(kind: str, world: World) -> Client:
    client = Client()
    client.force_login(_person(kind, world))
    return client


def _person(kind: str, world: World) -> User:
    if kind == ROOT:
        return User.objects.create_superuser("ada")
    limits: dict[str, list[Any] | None] = {ADMIN: None, OF_NOTHING: []}
    user = person("admin", services=limits.get(kind, [world["shop service"], world["shop empty service"]]))
    if kind == OF_SHOP_WITH_ALL:
        user.user_permissions.set(Permission.objects.all())
    return user


def snapshot() -> dict[str, list[Any]]:
    edited = [model for model in apps.get_models() if model._meta.model_name not in NO_EDIT]
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in edited}


def ask(client: Client, each: Row, world: World, *, follow: bool = True) -> Any:
    url = reverse(f"admin:{each.route}", args=[world[each.of].pk] if each.of else [])
    if each.data:
        return client.post(url, each.data(world), follow=follow)
    return client.get(url, follow=follow and each.route.endswith("_history"))  # that leads to the audit


def body(answer: Any) -> str:
    content: bytes = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content.decode()


def was_let(each: Row, answer: Any, before: dict[str, list[Any]]) -> bool:
    if answer.status_code != 200:
        return False
    if each.says:
        target = answer.redirect_chain[-1][0] if getattr(answer, "redirect_chain", None) else ""
        return each.says in body(answer) or each.says in target
    return snapshot() != before if each.data else True


def test_every_route_of_the_admin_has_a_row() -> None:
    found = {name for path, name in routes(get_resolver().url_patterns) if path.startswith("admin/")}

    assert found == {each.route for each in ROWS} | WITHOUT


@contextmanager
def undone(client: Client) -> Iterator[None]:
    """One world, and one login, serves all rows of a test."""
    cookies = client.cookies.output()
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
    client.cookies = SimpleCookie(cookies.replace("Set-Cookie: ", ""))


@pytest.mark.parametrize("kind", sorted(EVERYONE))
@pytest.mark.parametrize("section", SECTIONS)
def test_each_thing_is_done_for_those_who_may_and_for_no_others(world: World, section: str, kind: str) -> None:
    client = client_of(kind, world)
    before = snapshot()
    wrong = []
    for each in SECTIONS[section]:
        with undone(client):
            answer = ask(client, each, world)
            if was_let(each, answer, before) != (kind in each.may):
                wrong.append(f"{each}: {answer.status_code} {'' if kind in each.may else 'though they may not'}")
            if each.data and kind not in each.may and snapshot() != before:
                wrong.append(f"{each}: something was changed")
            if kind not in UNLIMITED and "bank" in body(answer):
                wrong.append(f"{each}: names what is not theirs")

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_another_role_does_not_get_in(world: World, role: str) -> None:
    client = Client()
    client.force_login(person(role))
    before = snapshot()
    for each in ROWS:
        answer = ask(client, each, world, follow=False)

        assert answer.status_code == 403, each
    assert snapshot() == before


@pytest.mark.parametrize("model", ["service", "node"])
@pytest.mark.parametrize("kind", sorted(EVERYONE))
def test_choices_offer_what_one_may_see(world: World, model: str, kind: str) -> None:
    asked = {"app_label": "inventory", "model_name": "instance", "field_name": model, "term": ""}

    answer = client_of(kind, world).get(reverse("admin:autocomplete"), asked).json()

    offered = {each["text"] for each in answer["results"]}
    assert any("shop" in text for text in offered) == (kind in SHOPS)
    assert any("bank" in text for text in offered) == (kind in UNLIMITED)


def test_of_a_shared_node_a_limited_person_counts_only_their_own_instances(world: World) -> None:
    Instance.objects.filter(service=world["bank service"]).update(node=world["shop node"])

    page = client_of(OF_SHOP, world).get(reverse("admin:inventory_node_changelist")).content.decode()

    assert 'class="field-instance_count">3</td>' in page
