"""inventory hears of operations through `inventory.instances.in_progress` alone, and works without any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

from deploys.operations.create import NewOperation, create_operation
from deploys.states import Kind
from inventory.instances import in_progress
from inventory.instances.facts import database_time, lock_settled
from inventory.instances.queries import service_versions
from inventory.models import Instance
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service


@pytest.fixture
def instance(db: None) -> Instance:
    (one,) = make_instances(make_service(), make_node(), 1)
    return one


def test_without_operations_nothing_is_in_progress(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    new = NewOperation(
        kind=Kind.DEPLOY, public_id="d", asked={"package_url": ""}, service=instance.service, version="v1",
        instance_ids=[instance.pk], access=SCHEDULER,
    )  # fmt: skip
    create_operation(new)
    assert in_progress.operations.holders(instances=[instance.pk])[instance.pk] == ("d", "deploy", False)
    assert service_versions(SCHEDULER, instance.service.name)["instances"][0]["status"] == "deploying"

    monkeypatch.setattr(in_progress, "operations", in_progress.Operations())

    assert service_versions(SCHEDULER, instance.service.name)["instances"][0]["status"] == "unknown"
    assert lock_settled([instance.pk], since=database_time()).keys() == {instance.pk}


def test_inventory_reaches_up_into_no_other_app_by_names_in_strings() -> None:
    """Relations that other apps have to its models are theirs alone: no linter sees a lookup like `targets__status`."""
    related = {
        str(relation.get_accessor_name())
        for model in apps.get_app_config("inventory").get_models()
        for relation in model._meta.related_objects
        if relation.related_model._meta.app_label != "inventory"
    }
    assert {"targets", "operations", "packages"} <= related

    found = []
    for path in (Path(settings.BASE_DIR) / "inventory").rglob("*.py"):
        if "migrations" not in path.parts:
            found += [f"{path}:{line}" for line in _reaches(ast.parse(path.read_text()), related)]
    assert found == []


def _reaches(tree: ast.AST, related: set[str]) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=str(name)) if name in related and _is_of_a_row(node.value):
                yield node.lineno
            case ast.keyword(arg=str(name)) if name.split("__")[0] in related:
                yield node.value.lineno
            case ast.Constant(value=str(text)) if text.lstrip("-").split("__")[0] in related and "__" in text:
                yield node.lineno


def _is_of_a_row(value: ast.expr) -> bool:
    """`in_progress.operations` is a module's name, not a row's relation."""
    return not (isinstance(value, ast.Name) and value.id == "in_progress")
