"""What the system writes is read-only in the admin, and fast however much of it there is."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_q.models import Failure, Schedule, Success
from django_q.tasks import async_task

from inventory.instances.sync_queue import request_sync
from inventory.models import Service, StatusChange
from inventory.security import audit
from inventory.security.access import SYSTEM_ACCESS
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

READ_ONLY = [
    "inventory_statuschange",
    "inventory_auditentry",
    "deploys_deploy",
    "deploys_target",
    "deploys_package",
    "deploys_worker",
    "rollbacks_rollback",
    "django_q_ormq",
    "axes_accessattempt",
]


@pytest.mark.parametrize("name", READ_ONLY)
def test_it_can_only_be_read(root_page: Client, name: str) -> None:
    page = root_page.get(reverse(f"admin:{name}_changelist"))

    assert page.status_code == 200
    assert root_page.get(reverse(f"admin:{name}_add")).status_code == 403
    assert 'name="action"' not in page.content.decode()


@pytest.mark.parametrize("name", [name for name in READ_ONLY if name not in {"django_q_ormq"}])
def test_it_can_be_searched(root_page: Client, name: str) -> None:
    assert root_page.get(reverse(f"admin:{name}_changelist"), {"q": "x"}).status_code == 200


def test_the_queues_own_pages_are_gone() -> None:
    assert not any(admin.site.is_registered(model) for model in (Schedule, Success, Failure))


def test_what_waits_in_the_queue_is_shown(root_page: Client) -> None:
    async_task("deploys.tasks.drive", 7, cluster="deploys")

    assert "deploys.tasks.drive" in root_page.get(reverse("admin:django_q_ormq_changelist")).content.decode()


def test_a_change_is_found_by_its_instance(admin_page: Client) -> None:
    first, second = make_instances(make_service(), make_node(), 2)
    for instance, new in ((first, "9.1.1"), (second, "9.2.2")):
        StatusChange.objects.create(instance=instance, field="version", new=new, actor_kind="node", actor_name="n")

    page = admin_page.get(reverse("admin:inventory_statuschange_changelist"), {"q": "instance-2"}).content.decode()

    assert "9.2.2" in page
    assert "9.1.1" not in page


def test_the_audit_is_found_by_a_name(admin_page: Client) -> None:
    make_service("shop")
    request_sync(access=SYSTEM_ACCESS, service_name="shop")
    audit.record(actor=SYSTEM_ACCESS.actor, action="node.create", object_kind="node", object_id="web-7")
    url = reverse("admin:inventory_auditentry_changelist")

    assert "web-7" in admin_page.get(url, {"q": "web-7"}).content.decode()
    assert "web-7" not in admin_page.get(url, {"q": "shop"}).content.decode()
    assert "service.sync" in admin_page.get(url, {"q": "shop"}).content.decode()


def test_a_list_counts_no_further_than_its_cap(admin_page: Client, django_assert_max_num_queries: Any) -> None:
    [instance] = make_instances(make_service(), make_node(), 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO inventory_statuschange (instance_id, field, old, new, at, operation_name, attempt, actor_kind,"
            " actor_name, note) SELECT %s, 'health', 'a', 'b', now(), '', 1, 'node', 'n', ''"
            " FROM generate_series(1, 30000)",
            [instance.pk],
        )

    with django_assert_max_num_queries(15):
        page = admin_page.get(reverse("admin:inventory_statuschange_changelist"))

    context: Any = page.context_data
    assert context["cl"].result_count == 10_000


def test_a_sync_is_asked_for_from_the_list(admin_page: Client) -> None:
    service = make_service("shop")

    admin_page.post(
        reverse("admin:inventory_service_changelist"), {"action": "sync_now", "_selected_action": [service.pk]}
    )

    assert Service.objects.get().sync_queued_at is not None
