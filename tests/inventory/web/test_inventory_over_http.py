"""`/v1/inventory`: the inventory file's document as JSON, read and brought in over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from inventory.actors import SYSTEM
from inventory.editing.file.apply import import_inventory
from inventory.models import AuditEntry, Instance, Node, Service
from tests.inventory.editing.test_import_inventory import FILE, busy
from tests.support.api import caller, logged_in, person
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

DOCUMENT: dict[str, Any] = yaml.safe_load(FILE)
JUMP = {
    "name": "dmz",
    "host": "203.0.113.7",
    "ssh_user": "jump",
    "ssh_host_key": DOCUMENT["nodes"][0]["ssh_host_key"],
}


@pytest.fixture
def scheduler(db: None) -> APIClient:
    return caller("inventory")


def put(client: APIClient, document: Any, query: str = "", **headers: str) -> Any:
    return client.put(f"/v1/inventory{query}", document, format="json", headers=headers)


def faults(answer: Any) -> list[tuple[str | None, str]]:
    """(attr, code) of each."""
    return [(error["attr"], error["code"]) for error in answer.json()["errors"]]


def counts(answer: Any) -> tuple[int, int, int]:
    assert answer.status_code == 200, answer.content
    told = answer.json()
    return told["created"], told["updated"], told["unchanged"]


def test_what_is_read_can_be_sent_back_and_changes_nothing(scheduler: APIClient) -> None:
    outer = {**JUMP, "name": "outer"}
    through = {"name": "web-2", "host": "10.0.0.2", "ssh_user": "deploy", "ssh_host_key": JUMP["ssh_host_key"]}
    document = {
        **DOCUMENT,
        "jump_hosts": [{**JUMP, "jump": "outer"}, outer],
        "nodes": [*DOCUMENT["nodes"], {**through, "jump": "dmz", "jump_socket": "/run/release/web-2.sock"}],
    }
    assert counts(put(scheduler, document)) == (8, 0, 0)

    stored = scheduler.get("/v1/inventory").json()

    assert counts(put(scheduler, stored)) == (0, 0, 8)
    import_inventory(yaml.safe_dump(stored).encode(), filename="f.yaml", actor=SYSTEM)
    assert scheduler.get("/v1/inventory").json() == stored
    [web_2] = [node for node in stored["nodes"] if node["name"] == "web-2"]
    assert (web_2["jump"], web_2["jump_socket"]) == ("dmz", "/run/release/web-2.sock")
    assert {jump["name"]: jump["jump"] for jump in stored["jump_hosts"]} == {"dmz": "outer", "outer": ""}


def test_it_creates_updates_and_says_what(scheduler: APIClient) -> None:
    put(scheduler, DOCUMENT)
    moved = {**DOCUMENT["instances"][1], "port": 9090}
    other = {**DOCUMENT["instances"][1], "instance_id": "instance-3", "deploy_root": "/srv/three"}

    answer = put(scheduler, {"instances": [moved, other], "services": [DOCUMENT["services"][0]]})

    assert counts(answer) == (1, 1, 1)
    assert answer.json()["rows"] == [
        {"kind": "instance", "name": "instance-2", "outcome": "updated",
         "changes": [{"field": "port", "old": "8081", "new": "9090"}]},
        {"kind": "instance", "name": "instance-3", "outcome": "created", "changes": []},
    ]  # fmt: skip
    assert Instance.objects.count() == 3
    entry = AuditEntry.objects.get(action="instance.change")
    assert (entry.actor_name, entry.object_id, entry.service) == ("scheduler", "instance-2", "user-service")
    assert entry.detail == {"changes": {"port": ["8081", "9090"]}}


def test_ten_times_as_many_take_no_more_statements(scheduler: APIClient) -> None:
    """10,000 instances on 10,000 nodes: some seconds, and 80 MB of memory."""
    statements = []
    for count in (10, 100):
        nodes = [{"name": f"n{count}-{n}", "host": f"10.0.{count}.{n}", "transport": "local"} for n in range(count)]
        instances = [
            {
                **DOCUMENT["instances"][0],
                "instance_id": node["name"],
                "node": node["name"],
                "deploy_root": f"/srv/{node['name']}",
            }
            for node in nodes
        ]
        document = {"services": DOCUMENT["services"], "nodes": nodes, "instances": instances}
        moved = [{**each, "port": 9, "deploy_root": f"/opt/{each['instance_id']}"} for each in instances]
        with CaptureQueriesContext(connection) as made:
            assert put(scheduler, document).status_code == 200
            assert counts(put(scheduler, {"instances": moved})) == (0, count, 0)
        statements.append(len(made))

    assert statements[1] <= statements[0]


def test_a_dry_run_changes_nothing(scheduler: APIClient) -> None:
    answer = put(scheduler, DOCUMENT, "?dry_run=true")

    assert counts(answer) == (5, 0, 0)
    assert answer.json()["dry_run"] is True
    assert not Service.objects.exists()
    assert put(scheduler, DOCUMENT, "?dry_run=yes").status_code == 400
    assert put(scheduler, DOCUMENT, "?dryrun=true").status_code == 400


def test_who_has_read_an_older_inventory_is_told_so(scheduler: APIClient) -> None:
    put(scheduler, DOCUMENT)
    etag = scheduler.get("/v1/inventory")["ETag"]
    assert scheduler.get("/v1/inventory", headers={"If-None-Match": etag}).status_code == 304
    change = {"services": [{"name": "user-service", "keep_releases": 7}]}

    assert counts(put(scheduler, change, **{"If-Match": f"W/{etag}"})) == (0, 1, 0)
    stale = put(scheduler, {"services": [{"name": "user-service", "keep_releases": 9}]}, **{"If-Match": etag})

    assert stale.status_code == 412
    assert faults(stale) == [(None, "precondition_failed")]
    assert Service.objects.get().keep_releases == 7
    assert scheduler.get("/v1/inventory", headers={"If-None-Match": etag}).status_code == 200
    assert put(scheduler, change, **{"If-Match": "unquoted"}).status_code == 400
    assert counts(put(scheduler, change, **{"If-Match": "*"})) == (0, 0, 1)


def test_every_fault_is_named_in_one_answer_and_nothing_has_changed(scheduler: APIClient) -> None:
    node = {"name": "here", "host": "127.0.0.1", "transport": "local"}
    instance = {"instance_id": "i-1", "service": "shop", "node": "here", "port": 1, "deploy_root": "/srv/i-1"}
    document = {
        "servces": [],
        "services": [
            {"name": "shop", "keep_releases": "5", "colour": "red"},
            {"name": "shop"},
            {"name": "current"},
            7,
        ],
        "jump_hosts": [{**JUMP, "jump": "outer"}, {**JUMP, "name": "outer", "jump": "dmz"}],
        "nodes": [node, {**node, "name": "there", "transport": "ssh"}],
        "instances": [
            instance,
            {**instance, "instance_id": "i-2", "deploy_root": "/srv/i-1/a"},
            {**instance, "instance_id": "i-3", "node": "nowhere", "service": "none", "deploy_root": "/srv/i-3"},
            {**instance, "instance_id": "i-4", "port": 70_000, "deploy_root": "relative"},
            {"instance_id": "i-5"},
        ],
    }

    answer = put(scheduler, document)

    assert answer.status_code == 400
    assert sorted(faults(answer), key=str) == [
        ("instances.1.deploy_root", "deploy_root_taken"),
        ("instances.2.node", "unknown_node"),
        ("instances.2.service", "unknown_service"),
        ("instances.3.deploy_root", "invalid"),
        ("instances.3.port", "invalid"),
        ("instances.4.deploy_root", "required"),
        ("instances.4.node", "required"),
        ("instances.4.port", "required"),
        ("instances.4.service", "required"),
        ("jump_hosts.0.jump", "jump_circle"),
        ("jump_hosts.1.jump", "jump_circle"),
        ("nodes.1.ssh_host_key", "invalid"),
        ("nodes.1.ssh_user", "invalid"),
        ("servces", "unknown_key"),
        ("services.0.colour", "unknown_field"),
        ("services.0.keep_releases", "wrong_type"),
        ("services.1", "duplicate"),
        ("services.2.name", "invalid"),
        ("services.3", "invalid_inventory"),
    ]
    told = {error["attr"]: error["detail"] for error in answer.json()["errors"]}
    at_fault = {error["attr"]: error.get("instance_id") for error in answer.json()["errors"]}
    assert (at_fault["instances.2.node"], at_fault["instances.4.port"], at_fault["services.1"]) == ("i-3", "i-5", None)
    assert told["services.1"] == "services[1] (shop): shop is there already, as services.0"
    assert told["instances.1.deploy_root"].startswith("instances[1] (i-2): deploy_root: i-2's deploy root /srv/i-1/a")
    assert not Node.objects.exists() and not Service.objects.exists()


@pytest.mark.parametrize("body", [[], {}, "text", 7, None, {"services": {}}, {"nodes": "x"}, {"instances": [[]]}])
def test_what_is_no_document_is_refused(scheduler: APIClient, body: Any) -> None:
    assert put(scheduler, body).status_code == 400


def test_an_instance_that_is_worked_on_does_not_move(scheduler: APIClient) -> None:
    put(scheduler, DOCUMENT)
    busy("instance-2")
    moved = {**DOCUMENT["instances"][1], "deploy_root": "/srv/elsewhere"}

    answer = put(scheduler, {"instances": [moved]})
    wrong_besides = put(scheduler, {"instances": [moved], "services": [{"name": "user-service", "keep_releases": 0}]})

    assert (answer.status_code, faults(answer)) == (409, [("instances.0", "instance_busy")])
    assert "deploy-1 is in progress on it" in answer.json()["errors"][0]["detail"]
    assert wrong_besides.status_code == 400
    assert {code for _attr, code in faults(wrong_besides)} == {"instance_busy", "invalid"}
    assert counts(put(scheduler, {"instances": [{**DOCUMENT["instances"][1], "port": 9}]})) == (0, 1, 0)


def test_two_that_swap_their_roots_are_refused_in_words(scheduler: APIClient) -> None:
    put(scheduler, DOCUMENT)
    first, second = ({**entry, "node": "here"} for entry in DOCUMENT["instances"])
    put(scheduler, {"instances": [first, second]})
    roots = first["deploy_root"], second["deploy_root"]

    answer = put(scheduler, {"instances": [{**first, "deploy_root": roots[1]}, {**second, "deploy_root": roots[0]}]})

    assert answer.status_code == 409
    assert answer.json()["errors"][0]["detail"].startswith("the database refused it: ")
    assert answer.json()["errors"][0]["code"] == "conflict"


@pytest.fixture
def shared(db: None) -> Service:
    """`shop` and `bank` on one node, `bank` alone on another one."""
    shop, bank = make_service("shop", restart_command="restart"), make_service("bank")
    node = make_node("shared")
    make_instances(shop, node, 1, prefix="shop")
    make_instances(bank, node, 1, prefix="bank")
    make_instances(bank, make_node("vault", host="10.0.0.9"), 1, prefix="vault", root="/opt")
    return shop


@pytest.fixture(params=["token", "person"])
def limited(request: pytest.FixtureRequest, shared: Service) -> APIClient:
    if request.param == "token":
        return caller("inventory", [shared])
    return logged_in(person("admin", services=[shared]))


def test_who_is_limited_to_a_service_reads_and_edits_that_alone(limited: APIClient) -> None:
    stored = limited.get("/v1/inventory").json()

    assert [service["name"] for service in stored["services"]] == ["shop"]
    assert [instance["instance_id"] for instance in stored["instances"]] == ["shop-1"]
    assert stored["nodes"] == stored["jump_hosts"] == []
    new = {"instance_id": "shop-2", "service": "shop", "node": "shared", "port": 80, "deploy_root": "/srv/shop-2"}
    stored["services"][0]["keep_releases"] = 9
    stored["instances"].append(new)
    assert counts(put(limited, stored)) == (1, 1, 1)


def test_a_root_that_is_anothers_is_told_without_a_trace_of_them(limited: APIClient) -> None:
    theirs, own = ({**SHOP_1, "instance_id": "new", "deploy_root": f"/srv/{name}-1/a"} for name in ("bank", "shop"))

    answers = [put(limited, {"instances": [entry]}) for entry in (theirs, own)]

    assert [faults(answer) for answer in answers] == [[("instances.0.deploy_root", "deploy_root_taken")]] * 2
    assert "Another service's instance has this deploy root" in answers[0].content.decode()
    assert b"bank" not in answers[0].content
    assert "inside /srv/shop-1, that of shop-1" in answers[1].content.decode()


SHOP_1 = {"instance_id": "shop-1", "service": "shop", "node": "shared", "port": 8001, "deploy_root": "/srv/shop-1"}
NOT_THEIRS: dict[str, tuple[dict[str, Any], int, str]] = {
    "a command": ({"services": [{"name": "shop", "restart_command": "rm"}]}, 403, "services.0.restart_command"),
    "another command": (
        {"services": [{"name": "shop", "before_switch_command": "rm"}]}, 403, "services.0.before_switch_command"),
    "a service": ({"services": [{"name": "new"}]}, 403, "services.0"),
    "another's service": ({"services": [{"name": "bank", "keep_releases": 1}]}, 403, "services.0"),
    "a node": ({"nodes": [{"name": "shared", "host": "h"}]}, 403, "nodes.0"),
    "a new node": ({"nodes": [{"name": "n", "host": "h", "transport": "local"}]}, 403, "nodes.0"),
    "a jump host": ({"jump_hosts": [JUMP]}, 403, "jump_hosts.0"),
    "another's instance": ({"instances": [{**SHOP_1, "instance_id": "bank-1"}]}, 403, "instances.0"),
    "an instance for another": ({"instances": [{**SHOP_1, "service": "bank"}]}, 400, "instances.0.service"),
    "another's node": ({"instances": [{**SHOP_1, "node": "vault"}]}, 400, "instances.0.node"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_THEIRS)
def test_who_is_limited_to_a_service_changes_nothing_else(limited: APIClient, what: str) -> None:
    document, status, attr = NOT_THEIRS[what]

    answer = put(limited, document)

    assert (answer.status_code, [error["attr"] for error in answer.json()["errors"]]) == (status, [attr])
    if status == 403:
        assert answer.json()["errors"][0]["code"] == "limited_to_services"
    assert Service.objects.get(name="shop").restart_command == "restart"
    assert not AuditEntry.objects.filter(action__startswith="service.").exists()
