"""The same bad change is refused with the same sentence through the file and through every page of the admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import InventoryFileError
from inventory.models import Instance, Node, Service
from tests.inventory.admin.test_editing import HOST_KEY, busy, instance_form, node_form, row, service_form
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

WORKS_ON_IT = "It can't be moved or renamed while deploy-1 is in progress on it. Wait for it, or cancel it."
WORKS_ON_ONE = "It can't be moved while deploy-1 is in progress on an instance of it. Wait for it, or cancel it."
INSTANCE: dict[str, tuple[dict[str, Any], str]] = {
    "the same root": (
        {"deploy_root": "/srv/instance-2"},
        "/srv/instance-2 is the deploy root of both instance-1 and instance-2.",
    ),
    "a root inside another": (
        {"deploy_root": "/srv/instance-2/a/b"},
        "instance-1's deploy root /srv/instance-2/a/b lies inside /srv/instance-2, that of instance-2.",
    ),
    "a root around another": (
        {"deploy_root": "/srv"},
        "instance-2's deploy root /srv/instance-2 lies inside /srv, that of instance-1.",
    ),
    "a root taken on another node of the machine": (
        {"node": "also-here", "deploy_root": "/srv/instance-2"},
        "/srv/instance-2 is the deploy root of both instance-1 and instance-2.",
    ),
    "moved on its node while busy": ({"deploy_root": "/opt/a"}, WORKS_ON_IT),
    "moved to a node while busy": ({"node": "far"}, WORKS_ON_IT),
    "moved to a service while busy": ({"service": "other"}, WORKS_ON_IT),
}
NODE: dict[str, tuple[dict[str, Any], str]] = {
    "onto roots that are taken": (
        {"transport": "local"},
        "/srv/instance-2 is the deploy root of both far-1 and instance-2.",
    ),
    "to another host while busy": ({"host": "10.0.0.8"}, WORKS_ON_ONE),
    "to another port while busy": ({"ssh_port": 2222}, WORKS_ON_ONE),
    "to another transport while busy": ({"transport": "local"}, WORKS_ON_ONE),
}


@pytest.fixture
def fleet(db: None) -> None:
    """instance-1 and -2 on this machine; far-1 elsewhere, with the root of instance-2."""
    make_instances(make_service(), make_node(), 2)
    make_service("other")
    make_node("also-here")
    far = make_node("far", host="10.0.0.7", transport="ssh", ssh_user="deploy", ssh_host_key=HOST_KEY)
    Instance.objects.create(
        instance_id="far-1", service=Service.objects.get(name="other"), node=far, port=1, deploy_root="/srv/instance-2"
    )


@pytest.fixture
def page(client: Client, fleet: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def by_file(section: str, entry: dict[str, Any]) -> list[str]:
    with pytest.raises(InventoryFileError) as refusal:
        import_inventory(yaml.safe_dump({section: [entry]}).encode(), filename="f.yaml", actor=SYSTEM)
    return [problem.detail for problem in refusal.value.problems]


def by_page(page: Client, url: str, data: dict[str, Any]) -> list[str]:
    response: Any = page.post(url, data)
    assert response.status_code == 200, "it was accepted"
    context = response.context_data
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        assert inline.formset.non_form_errors() == []
        forms += inline.formset.forms
    return [text for form in forms for texts in form.errors.values() for text in texts]


def url_of(obj: Any) -> str:
    return reverse(f"admin:inventory_{obj._meta.model_name}_change", args=[obj.pk])


def by_instance_page(page: Client, instance: Instance, changed: dict[str, Any]) -> list[str]:
    return by_page(page, url_of(instance), instance_form(instance, **changed))


def by_service_page(page: Client, instance: Instance, changed: dict[str, Any]) -> list[str]:
    rows = [row(instance, **changed), row(Instance.objects.get(instance_id="instance-2"))]
    return by_page(page, url_of(instance.service), service_form(instance.service, instances=rows))


@pytest.mark.parametrize("door", [by_instance_page, by_service_page])
@pytest.mark.parametrize("what", INSTANCE)
def test_an_instance_is_refused_with_the_same_sentence(
    page: Client, what: str, door: Callable[[Client, Instance, dict[str, Any]], list[str]]
) -> None:
    changed, sentence = INSTANCE[what]
    if "service" in changed and door is by_service_page:
        pytest.skip("a service's page offers no other service")
    instance = Instance.objects.get(instance_id="instance-1")
    if "busy" in what:
        busy(instance)
    entry = {"instance_id": "instance-1", "service": "user-service", "node": "node-1", "port": instance.port}
    keys = {key: model.objects.get(name=changed[key]).pk for key, model in KINDS.items() if key in changed}

    [told] = by_file("instances", {**entry, "deploy_root": instance.deploy_root, **changed})

    assert told.endswith(f": {sentence}")
    assert door(page, instance, {**changed, **keys}) == [sentence]
    assert Instance.objects.filter(pk=instance.pk, node__name="node-1", deploy_root="/srv/instance-1").exists()


KINDS: dict[str, Any] = {"service": Service, "node": Node}


@pytest.mark.parametrize("what", NODE)
def test_a_node_is_refused_with_the_same_sentence(page: Client, what: str) -> None:
    changed, sentence = NODE[what]
    node = Node.objects.get(name="far")
    if "busy" in what:
        Instance.objects.filter(instance_id="far-1").update(deploy_root="/srv/far")
        busy(Instance.objects.get(instance_id="far-1"))
    fields: dict[str, Any] = {
        "host": node.host,
        "transport": "ssh",
        "ssh_user": "deploy",
        "ssh_port": 22,
        "ssh_host_key": HOST_KEY,
    }

    [told] = by_file("nodes", {"name": "far", **fields, **changed})

    assert told.endswith(f": {sentence}")
    assert by_page(page, url_of(node), node_form(name="far", **{**fields, **changed})) == [sentence]
    assert Node.objects.filter(pk=node.pk, host="10.0.0.7", transport="ssh", ssh_port=22).exists()


def test_two_rows_of_one_page_and_of_one_file_are_seen_together(page: Client) -> None:
    """Each alone would be fine."""
    first, second = Instance.objects.filter(service__name="user-service").order_by("pk")
    sentence = "instance-2's deploy root /opt/a/b lies inside /opt/a, that of instance-1."
    rows = [row(first, deploy_root="/opt/a"), row(second, deploy_root="/opt/a/b")]

    assert by_page(page, url_of(first.service), service_form(first.service, instances=rows)) == [sentence]

    entry: dict[str, Any] = {"service": "user-service", "node": "node-1", "port": 1}
    roots = {"instance-1": "/opt/a", "instance-2": "/opt/a/b"}
    instances = [{"instance_id": name, "deploy_root": root, **entry} for name, root in roots.items()]
    with pytest.raises(InventoryFileError) as refusal:
        import_inventory(yaml.safe_dump({"instances": instances}).encode(), filename="f.yaml", actor=SYSTEM)
    assert str(refusal.value).endswith(f"instances[1] (instance-2): deploy_root: {sentence}")


def test_two_instances_may_swap_what_was_in_each_others_way(page: Client) -> None:
    """The rules look at the inventory as it would be: one row leaves the root that another one takes."""
    first, second = Instance.objects.filter(service__name="user-service").order_by("pk")
    rows = [row(first, deploy_root="/srv/elsewhere"), row(second, deploy_root="/srv/instance-1/a")]

    response = page.post(url_of(first.service), service_form(first.service, instances=rows))

    assert response.status_code == 302
    assert Instance.objects.get(pk=second.pk).deploy_root == "/srv/instance-1/a"


def test_two_instances_that_swap_their_roots_are_refused_in_words(page: Client) -> None:
    """Rows are saved one by one, and the database has a constraint."""
    first, second = Instance.objects.filter(service__name="user-service").order_by("pk")
    rows = [row(first, deploy_root="/srv/instance-2"), row(second, deploy_root="/srv/instance-1")]

    told = by_page(page, url_of(first.service), service_form(first.service, instances=rows))

    assert told == ["Another instance has this deploy root on this node."] * 2
