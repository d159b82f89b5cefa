"""A service's version command comes from the file and the admin; without one nothing is known of what processes say."""

from __future__ import annotations

import pytest
from django.test import Client

from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import InventoryFileError
from inventory.editing.forms import ServiceForm
from inventory.models import Instance, Service, StatusChange
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db


def bring_in(**values: object) -> None:
    keys = ", ".join(f"{key}: {value}" for key, value in values.items())
    import_inventory(f"services: [{{name: shop, {keys}}}]".encode(), filename="shop.yaml", actor=SYSTEM)


@pytest.fixture
def instance() -> Instance:
    (instance,) = make_instances(make_service("shop", version_command="cat version"), make_node(), 1)
    Instance.objects.update(process_version="v1")
    return instance


def process_version() -> str:
    return Instance.objects.get().process_version


def test_it_is_taken_from_the_file_and_what_processes_said_goes_with_it(instance: Instance) -> None:
    bring_in(version_command="curl -fsS $RELEASE_PORT", version_timeout=5)

    service = Service.objects.get()
    assert (service.version_command, service.version_timeout) == ("curl -fsS $RELEASE_PORT", 5)
    assert process_version() == "v1"

    bring_in(version_command="''")

    assert process_version() == ""
    [change] = StatusChange.objects.all()
    assert (change.field, change.old, change.new, change.actor_name) == ("process", "v1", "", SYSTEM.name)


@pytest.mark.parametrize(
    ("key", "value"),
    [("version_timeout", 0), ("version_timeout", 3601), ("version_timeout", "'5'"), ("version_command", "[x]"),
     ("version_command", r'"a\0b"')],
)  # fmt: skip
def test_a_bad_value_changes_nothing(instance: Instance, key: str, value: object) -> None:
    with pytest.raises(InventoryFileError, match=r"shop\.yaml"):
        bring_in(**{key: value})

    assert (Service.objects.get().version_command, process_version()) == ("cat version", "v1")


def test_the_admin_empties_it_too(instance: Instance, admin_client: Client) -> None:
    service = Service.objects.get()
    page = admin_client.get(f"/admin/inventory/service/{service.pk}/change/")
    form = page.context["adminform"].form
    data = {name: value for name in form.fields if (value := form[name].value()) not in (None, False)}
    rows = {f"instances-{name}_FORMS": 0 for name in ("TOTAL", "INITIAL")}

    answer = admin_client.post(
        f"/admin/inventory/service/{service.pk}/change/", {**data, **rows, "version_command": ""}
    )

    assert answer.status_code == 302
    assert process_version() == ""


def test_a_page_from_before_the_upgrade_keeps_it(instance: Instance) -> None:
    service = Service.objects.get()
    form = ServiceForm({"name": "shop", "command_timeout": 60, "keep_releases": 9}, instance=service)

    assert form["version_command"].value() == "cat version"
    assert form.data["version_timeout"] == 30
