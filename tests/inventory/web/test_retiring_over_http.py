"""`DELETE /v1/instance/{id}`, `DELETE /v1/node/{name}`: retired, no longer listed or chosen, brought back by its name."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from deploys.host.store_retention import wanted
from deploys.models import Operation, Package
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind
from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.editing.retirement import retire_instance
from inventory.errors import Conflict
from inventory.instances.facts import Change, Effect, record
from inventory.instances.sync import sync_service
from inventory.models import AuditEntry, Instance, Node, Service, StatusChange
from inventory.security.access import SYSTEM_ACCESS
from tests.inventory.editing.test_import_inventory import busy
from tests.inventory.web.test_inventory_over_http import counts, faults, put
from tests.support.api import caller, logged_in, person
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service

EXECUTE = {"service": "user-service", "version": "v2", "package_url": "http://p/v2.tgz"}
ENTRY = {
    "instance_id": "instance-1", "service": "user-service", "node": "node-1", "port": 8001,
    "deploy_root": "/srv/instance-1",
}  # fmt: skip


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    return make_instances(make_service(), make_node(), 2)


@pytest.fixture
def scheduler(fleet: list[Instance]) -> APIClient:
    return caller("inventory")


@pytest.fixture
def retired(scheduler: APIClient) -> Instance:
    """instance-1, which ran v1."""
    instance = Instance.objects.get(instance_id="instance-1")
    ran = Effect(version="v1", release="v1", sha256="1" * 64, run_status="running", is_expected=True, history="push")
    record([Change(instance_id=instance.pk, actor=SYSTEM, effect=ran)])
    assert scheduler.delete("/v1/instance/instance-1").status_code == 204
    instance.refresh_from_db()
    return instance


def test_a_retired_instance_is_no_longer_listed(retired: Instance, scheduler: APIClient) -> None:
    service = "/v1/service/user-service/instances"

    assert [one["instance_id"] for one in scheduler.get(service).json()["instances"]] == ["instance-2"]
    assert [one["instance_id"] for one in scheduler.get(f"{service}/versions").json()["instances"]] == ["instance-2"]
    assert scheduler.get(f"{service}/versions").json()["version_summary"] == {}
    assert [one["instance_id"] for one in scheduler.get("/v1/inventory").json()["instances"]] == ["instance-2"]
    metrics = caller("read").get("/metrics").content.decode()
    assert 'release_instances{service="user-service"} 1.0' in metrics
    console = logged_in(person("admin"))
    for page in ("/services/user-service", "/services/user-service/roll-back?all=1&to=v2"):
        # Rows have their keys as ids.
        shown = re.sub(r'id="instance-\d+"', "", console.get(page).content.decode())
        assert "instance-2" in shown
        assert "instance-1" not in shown


def test_a_retired_instance_is_no_longer_chosen(retired: Instance) -> None:
    deploy = caller()
    service = retired.service

    named = deploy.post("/v1/deploy/execute", {**EXECUTE, "instances": ["instance-1"]}, format="json")
    back = deploy.post("/v1/rollback/instance", {"instance_id": "instance-1", "target_version": "v1"}, format="json")
    report = caller("report").post("/v1/instance/instance-1/report", {"health": "healthy"}, format="json")

    assert (named.status_code, faults(named)) == (400, [("instances", "instance_not_found")])
    assert (back.status_code, report.status_code) == (404, 404)
    result = sync_service(service.pk)
    assert result is not None
    assert result.read + result.unreachable == 1
    assert not StatusChange.objects.filter(instance=retired, note__startswith="unreachable").exists()


def test_its_history_is_kept(retired: Instance, scheduler: APIClient) -> None:
    changes = scheduler.get("/v1/instance/instance-1/history").json()["changes"]
    page = logged_in(person("viewer")).get("/instances/instance-1")

    assert {"version", "run_status"} == {change["field"] for change in changes}
    assert page.status_code == 200
    assert b"Retired:" in page.content
    entry = AuditEntry.objects.get(action="instance.retire")
    assert (entry.actor_name, entry.object_id, entry.service) == ("scheduler", "instance-1", "user-service")


def test_to_retire_it_again_changes_nothing_and_an_unknown_one_is_told(retired: Instance, scheduler: APIClient) -> None:
    assert scheduler.delete("/v1/instance/instance-1").status_code == 204
    assert scheduler.delete("/v1/instance/instance-9").status_code == 404
    assert scheduler.delete("/v1/node/node-9").status_code == 404

    assert AuditEntry.objects.filter(action="instance.retire").count() == 1
    assert Instance.objects.get(pk=retired.pk).retired_at == retired.retired_at


def test_a_busy_one_is_not_retired(scheduler: APIClient) -> None:
    busy("instance-1")

    answer = scheduler.delete("/v1/instance/instance-1")

    assert answer.status_code == 409
    [error] = answer.json()["errors"]
    assert (error["code"], error["instance_id"], error["operation"]) == ("instance_busy", "instance-1", "deploy-1")
    assert (error["step"], error["kind"]) == ("queued", "deploy")
    assert Instance.objects.listed().count() == 2


def test_a_node_is_retired_once_no_instance_is_on_it(retired: Instance, scheduler: APIClient) -> None:
    used = scheduler.delete("/v1/node/node-1")

    assert (used.status_code, faults(used)) == (409, [("name", "node_in_use")])
    assert used.json()["errors"][0]["instance_id"] == "instance-2"
    assert "of service 'user-service'" in used.json()["errors"][0]["detail"]
    scheduler.delete("/v1/instance/instance-2")
    assert scheduler.delete("/v1/node/node-1").status_code == 204
    assert scheduler.delete("/v1/node/node-1").status_code == 204
    assert scheduler.get("/v1/inventory").json()["nodes"] == []
    on_it = put(scheduler, {"instances": [{**ENTRY, "instance_id": "new", "deploy_root": "/srv/new"}]})
    assert (on_it.status_code, faults(on_it)) == (400, [("instances.0.node", "unknown_node")])
    assert "is retired; name it under nodes" in on_it.json()["errors"][0]["detail"]


def test_another_one_may_take_its_place_on_the_node(retired: Instance, scheduler: APIClient) -> None:
    assert counts(put(scheduler, {"instances": [{**ENTRY, "instance_id": "new"}]})) == (1, 0, 0)

    back = put(scheduler, {"instances": [ENTRY]})

    assert (back.status_code, faults(back)) == (400, [("instances.0.deploy_root", "deploy_root_taken")])


@pytest.mark.parametrize("door", ["http", "file"])
def test_who_is_named_again_is_brought_back_and_it_is_said(retired: Instance, scheduler: APIClient, door: str) -> None:
    if door == "http":
        answer = put(scheduler, {"instances": [ENTRY]})
        assert counts(answer) == (0, 1, 0)
        [change] = answer.json()["rows"][0]["changes"]
        assert (change["field"], change["new"]) == ("retired_at", "(empty)")
    else:
        file = (
            "instances: [{instance_id: instance-1, service: user-service, node: node-1, port: 8001, "
            "deploy_root: /srv/instance-1}]"
        )
        report = import_inventory(file.encode(), filename="f.yaml", actor=SYSTEM)
        assert "retired_at: 20" in "\n".join(report.lines())

    retired.refresh_from_db()
    assert retired.retired_at is None
    assert (retired.running_version, retired.run_status) == ("v1", "unknown")
    assert StatusChange.objects.filter(instance=retired, note="brought back in the inventory").exists()
    assert AuditEntry.objects.filter(action="instance.change", object_id="instance-1").exists()
    assert counts(put(scheduler, {"instances": [ENTRY]})) == (0, 0, 1)


def test_a_deploy_that_chose_it_before_it_was_retired_is_refused(transactional_db: None) -> None:
    """The retirement waits for nobody here: the deploy has read its instances, and waits for their locks."""
    make_instances(make_service(), make_node(), 1)
    request = DeployRequest(
        service="user-service", version="v2", instances=("instance-1",), package_url="http://p/v2.tgz", deploy_id="late"
    )
    refused: list[Conflict] = []

    def deploy() -> None:
        try:
            start_deploy(access=SCHEDULER, request=request)
        except Conflict as conflict:
            refused.append(conflict)
        finally:
            connection.close()

    with transaction.atomic():
        retire_instance(access=SYSTEM_ACCESS, instance_id="instance-1")
        thread = threading.Thread(target=deploy)
        thread.start()
        thread.join(timeout=1.5)
        assert thread.is_alive(), "it did not wait for the lock"
    thread.join(timeout=20)

    assert [conflict.code for conflict in refused] == ["instance_retired"]
    assert not Operation.objects.exists()


def test_a_failed_one_that_was_retired_is_not_tried_again(scheduler: APIClient) -> None:
    request = DeployRequest(
        service="user-service", version="v2", instances=("instance-1",), package_url="http://p/v2.tgz", deploy_id="d"
    )
    operation = start_deploy(access=SCHEDULER, request=request)
    ended = "2024-01-15T10:30:00Z"
    operation.targets.update(status="failed", error_code="node_unreachable", finished_at=ended)
    Operation.objects.filter(pk=operation.pk).update(status="failed", failed=1, finished_at=ended)
    assert scheduler.delete("/v1/instance/instance-1").status_code == 204

    with pytest.raises(Conflict) as refusal:
        retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="d")

    assert refusal.value.code == "instance_retired"
    assert caller().get("/v1/deploy/status/d").json()["instances"][0]["instance_id"] == "instance-1"


def test_the_store_keeps_no_package_for_it(retired: Instance) -> None:
    Service.objects.update(keep_releases=1)
    for release in ("v1", "v2"):
        sha256 = release[1] * 64
        Package.objects.create(
            service=retired.service, version=release, release=release, sha256=sha256, size_bytes=1, url="http://p/"
        )

    assert wanted() == {"2" * 64}


def test_an_admin_finds_retired_ones_by_a_filter_and_can_only_read_them(retired: Instance, client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    instances, nodes = (reverse(f"admin:inventory_{name}_changelist") for name in ("instance", "node"))
    change = reverse("admin:inventory_instance_change", args=[retired.pk])

    assert "instance-1" not in client.get(instances).content.decode()
    assert "instance-1" in client.get(f"{instances}?retired=yes").content.decode()
    assert "instance-1" in client.get(f"{instances}?retired=all").content.decode()
    assert 'name="_save"' not in client.get(change).content.decode()
    assert client.post(change, {"port": 1}).status_code == 403
    assert (
        "instance-1"
        not in client.get(reverse("admin:inventory_service_change", args=[retired.service_id])).content.decode()
    )
    Node.objects.update(retired_at=retired.retired_at)
    assert "node-1" not in client.get(nodes).content.decode()
    asked = {"app_label": "inventory", "model_name": "instance", "field_name": "node", "term": ""}
    assert client.get(reverse("admin:autocomplete"), asked).json()["results"] == []


def test_who_would_delete_what_has_a_history_is_told_to_retire_it(retired: Instance, client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    delete = {kind: reverse(f"admin:inventory_{kind}_delete", args=[pk]) for kind, pk in
              (("instance", retired.pk), ("node", retired.node_id))}  # fmt: skip

    assert "delete or move those first" in client.get(delete["node"]).content.decode()
    Instance.objects.filter(instance_id="instance-2").delete()
    pages = {kind: client.get(path).content.decode() for kind, path in delete.items()}
    assert all("It can’t be deleted:" in page for page in pages.values())
    assert reverse("admin:inventory_node_retire", args=[retired.node_id]) in pages["node"]
    assert "/retire/" not in pages["instance"], "it is retired already"


@pytest.mark.parametrize("who", ["token", "person"])
def test_who_is_limited_to_a_service_retires_its_instances_alone(fleet: list[Instance], who: str) -> None:
    other = make_instances(make_service("other"), make_node("far"), 1, prefix="other")
    services = [fleet[0].service]
    client: Any = caller("inventory", services) if who == "token" else logged_in(person("admin", services=services))

    assert client.delete("/v1/instance/instance-1").status_code == 204
    assert client.delete("/v1/instance/other-1").status_code == 404
    refused = client.delete("/v1/node/far")

    assert (refused.status_code, faults(refused)) == (403, [(None, "limited_to_services")])
    assert Instance.objects.listed().filter(pk=other[0].pk).exists()
