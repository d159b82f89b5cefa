"""The inventory comes in as YAML through the browser: previewed, then confirmed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from inventory.models import Instance, Service
from tests.inventory.admin.conftest import edits

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

    assert "fleet.yaml:6: instances[0] (shop-1): port: must be an integer" in page
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
