"""The inventory comes in as YAML and CSV through the browser: previewed, then confirmed; and goes out as CSV."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from inventory.models import Instance, Node, Service
from tests.inventory.admin.conftest import edits
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

YAML = """\
services:
  - name: shop
nodes:
  - {name: here, host: 127.0.0.1, transport: local}
instances:
  - {instance_id: shop-1, service: shop, node: here, port: 80, deploy_root: /srv/shop-1}
"""


def preview(page: Client, text: str) -> str:
    url = reverse("admin:inventory_service_import_yaml")
    response = page.post(url, {"file": SimpleUploadedFile("fleet.yaml", text.encode())})
    assert response.status_code == 200
    return response.content.decode()


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def confirm(page: Client, text: str, plan: str) -> Any:
    url = reverse("admin:inventory_service_import_yaml")
    return page.post(url, {"name": "fleet.yaml", "text": text.replace("\n", "\r\n"), "plan": plan})


def test_a_preview_changes_nothing(admin_page: Client) -> None:
    page = preview(admin_page, YAML)

    assert "shop-1" in page
    assert "3 to create, 0 to update, 0 unchanged" in page
    assert not Service.objects.exists()


def test_what_was_previewed_is_brought_in(admin_page: Client) -> None:
    plan = hidden(preview(admin_page, YAML), "plan")

    response = confirm(admin_page, YAML, plan)

    assert response.status_code == 302
    assert Instance.objects.get().instance_id == "shop-1"
    assert set(edits().values_list("actor_name", flat=True)) == {"ann"}


def test_when_the_world_has_moved_it_is_previewed_anew(admin_page: Client) -> None:
    plan = hidden(preview(admin_page, YAML), "plan")
    Service.objects.create(name="shop", keep_releases=3)

    response = confirm(admin_page, YAML, plan)

    assert response.status_code == 200
    assert "this is a new one" in response.content.decode()
    assert not Instance.objects.exists()


def test_faults_are_listed_with_their_lines(admin_page: Client) -> None:
    page = preview(admin_page, YAML.replace("port: 80", "port: x"))

    assert "fleet.yaml:6: instances[0] (shop-1): port: must be a whole number" in page
    assert not Service.objects.exists()


def test_a_name_in_a_file_is_shown_as_text(admin_page: Client) -> None:
    page = preview(admin_page, "services: [{name: <script>alert(1)</script>}]")

    assert "<script>alert" not in page


def test_a_file_too_large_for_the_browser_is_refused(admin_page: Client) -> None:
    assert "import_inventory" in preview(admin_page, "#" * 2_000_001)


def test_the_file_goes_through_the_page_unchanged(admin_page: Client) -> None:
    text = YAML.replace("- name: shop", '- name: shop\n    restart_command: |\n      a "b" </textarea>\n      c')

    page = preview(admin_page, text)

    plan = hidden(page, "plan")
    assert confirm(admin_page, text, plan).status_code == 302
    assert Service.objects.get().restart_command == 'a "b" </textarea>\nc\n'


def import_csv(page: Client, of: str, text: str) -> tuple[str, Any]:
    """The preview's page, and the answer to its confirmation if there was one to give."""
    response = page.post(
        reverse(f"admin:inventory_{of}_import"),
        {"format": "0", "import_file": SimpleUploadedFile(f"{of}.csv", text.encode(), "text/csv"), "resource": ""},
    )
    assert response.status_code == 200
    shown = response.content.decode()
    context: Any = response.context_data
    if "confirm_form" not in context:
        return shown, None
    form = context["confirm_form"]
    return shown, page.post(reverse(f"admin:inventory_{of}_process_import"), form.initial)


def test_csv_is_previewed_and_brought_in(admin_page: Client) -> None:
    fleet = make_instances(make_service(), make_node(), 1)

    shown, answer = import_csv(
        admin_page,
        "instance",
        "instance_id,service,node,port,deploy_root\n"
        "instance-1,user-service,node-1,9001,/srv/instance-1\n"
        "instance-2,user-service,node-1,9002,/srv/instance-2\n",
    )

    assert "instance-2" in shown
    assert answer.status_code == 302
    assert set(Instance.objects.values_list("instance_id", "port")) == {("instance-1", 9001), ("instance-2", 9002)}
    assert set(edits().values_list("action", "object_id", "actor_name")) == {
        ("instance.change", "instance-1", "ann"),
        ("instance.create", "instance-2", "ann"),
    }
    assert Instance.objects.filter(pk=fleet[0].pk).exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,user-service,node-1,1,/srv/instance-1/x", "lies inside"),
        ("x,user-service,node-1,1,srv", "must be an absolute path"),
        ("../x,user-service,node-1,1,/srv/x", "not a valid name"),
        ("x,nobody,node-1,1,/srv/x", "Service"),
    ],
)
def test_csv_is_refused_by_the_same_rules(admin_page: Client, row: str, said: str) -> None:
    make_instances(make_service(), make_node(), 1)

    shown, answer = import_csv(admin_page, "instance", f"instance_id,service,node,port,deploy_root\n{row}\n")

    assert answer is None
    assert said in shown
    assert Instance.objects.count() == 1


def test_an_ssh_node_without_a_key_is_refused_in_csv_too(admin_page: Client) -> None:
    shown, answer = import_csv(admin_page, "node", "name,host,transport,ssh_user\nn,h,ssh,u\n")

    assert answer is None
    assert "is required for a node reached over ssh" in shown
    assert not Node.objects.exists()


def test_unknown_columns_are_refused(admin_page: Client) -> None:
    shown, answer = import_csv(admin_page, "service", "name,keep_release\nshop,3\n")

    assert answer is None
    assert "unknown columns: keep_release" in shown


@pytest.mark.parametrize("of", ["service", "node", "instance"])
def test_what_is_exported_comes_in_again_unchanged(admin_page: Client, of: str) -> None:
    make_instances(make_service(), make_node(), 3)

    exported = admin_page.get(reverse(f"admin:inventory_{of}_export"))
    assert exported["Content-Type"] == "text/csv"
    import_csv(admin_page, of, exported.content.decode())

    assert not edits().exists()
    assert Instance.objects.count() == 3


def test_an_export_holds_what_the_list_shows(admin_page: Client) -> None:
    make_instances(make_service(), make_node(), 12)

    exported = admin_page.get(reverse("admin:inventory_instance_export"), {"q": "instance-12"})

    assert exported.content.decode().splitlines()[1:] == ["instance-12,user-service,node-1,8012,/srv/instance-12"]
