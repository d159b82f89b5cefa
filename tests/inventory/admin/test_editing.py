"""The inventory is edited under the importer's rules; every edit is in the audit, and history stays."""

from __future__ import annotations

import html
from typing import Any

import asyncssh
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from deploys.models import Operation, Target
from deploys.states import Kind
from inventory.actors import ActorKind
from inventory.models import Instance, Node, Service, StatusChange
from releasesite.models import ServiceLimit
from tests.inventory.admin.conftest import edits
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

HOST_KEY = " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().split()[:2])


@pytest.fixture
def fleet() -> list[Instance]:
    return make_instances(make_service(), make_node(), 3)


def busy(instance: Instance) -> None:
    operation = Operation.objects.create(
        kind=Kind.DEPLOY,
        public_id="deploy-1",
        service=instance.service,
        version="v1",
        total=1,
        fingerprint="x",
        requested_by="ann",
        requested_by_kind=ActorKind.PERSON,
    )
    Target.objects.create(operation=operation, instance=instance, kind=Kind.DEPLOY)


def service_form(service: Service | None, *, instances: list[dict[str, Any]] = [], **fields: Any) -> dict[str, Any]:  # noqa: B006
    kept = [each for each in instances if each.get("id")]
    data = {
        "name": service.name if service else "shop",
        "restart_command": "",
        "before_switch_command": "",
        "command_timeout": 60,
        "keep_releases": 5,
        "sync_enabled": "on",
        "instances-TOTAL_FORMS": len(instances),
        "instances-INITIAL_FORMS": len(kept),
        **fields,
    }
    if service:
        data["instances-__prefix__-service"] = service.pk
    for number, each in enumerate([*kept, *(each for each in instances if not each.get("id"))]):
        for key, value in {**each, "service": service.pk if service else ""}.items():
            data[f"instances-{number}-{key}"] = value
    return data


def row(instance: Instance, **changed: Any) -> dict[str, Any]:
    return {
        "id": instance.pk,
        "instance_id": instance.instance_id,
        "node": instance.node_id,
        "port": instance.port,
        "deploy_root": instance.deploy_root,
        **changed,
    }


def instance_form(instance: Instance, **changed: Any) -> dict[str, Any]:
    data = row(instance, **{"service": instance.service_id, **changed})
    del data["id"]
    return data


def node_form(**changed: Any) -> dict[str, Any]:
    return {
        "name": "n",
        "host": "h",
        "transport": "local",
        "ssh_user": "",
        "ssh_port": 22,
        "ssh_host_key": "",
        "delivery": "push",
        "jump": "",
        "jump_socket": "",
        **changed,
    }


def errors(response: Any) -> str:
    assert response.status_code == 200, "the form was accepted"
    return html.unescape(response.content.decode())


def change_url(obj: Any) -> str:
    return reverse(f"admin:inventory_{obj._meta.model_name}_change", args=[obj.pk])


def test_a_service_is_added_with_its_instances(admin_page: Client) -> None:
    node = make_node()
    new = {"instance_id": "i-1", "node": node.pk, "port": 80, "deploy_root": "/srv/i-1"}

    response = admin_page.post(reverse("admin:inventory_service_add"), service_form(None, instances=[new]))

    assert response.status_code == 302
    instance = Instance.objects.get()
    assert (instance.instance_id, instance.service.name) == ("i-1", "shop")
    entry = edits().get(action="service.create")
    assert (entry.actor_name, entry.actor_kind, entry.object_id, entry.service) == ("ann", "person", "shop", "shop")
    assert entry.actor_address == "127.0.0.1"


def test_an_edit_says_from_what_to_what(admin_page: Client, fleet: list[Instance]) -> None:
    service = fleet[0].service

    response = admin_page.post(
        change_url(service),
        service_form(service, keep_releases=9, instances=[row(fleet[0], port=9999), row(fleet[1]), row(fleet[2])]),
    )

    assert response.status_code == 302
    assert Instance.objects.get(pk=fleet[0].pk).port == 9999
    detail = edits().get(action="service.change").detail
    assert detail["changes"] == {"keep_releases": ["5", "9"], "instance-1": {"port": ["8001", "9999"]}}


def test_an_edit_writes_nothing_but_what_was_edited(
    admin_page: Client, fleet: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    from inventory.admin import instances
    from inventory.editing import relocation

    save = relocation.save_instance

    def deployed_meanwhile(instance: Instance, **kwargs: Any) -> None:
        Instance.objects.update(running_version="v7")
        save(instance, **kwargs)

    monkeypatch.setattr(instances, "save_instance", deployed_meanwhile)

    admin_page.post(change_url(fleet[0]), instance_form(fleet[0], port=9999))

    instance = Instance.objects.get(pk=fleet[0].pk)
    assert (instance.port, instance.running_version) == (9999, "v7")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"transport": "ssh"}, "is required for a node reached over ssh"),
        ({"ssh_host_key": "h ssh-ed25519 AAAA"}, "is not a public key"),
        ({"host": "a b"}, "is not a host"),
        ({"name": "../x"}, "is not a valid name"),
    ],
)
def test_a_nodes_faults_are_said(admin_page: Client, changed: dict[str, Any], said: str) -> None:
    response = admin_page.post(reverse("admin:inventory_node_add"), node_form(**changed))

    assert said in errors(response)
    assert not Node.objects.exists()


def test_a_host_key_is_kept_without_its_comment(admin_page: Client) -> None:
    fields = {"transport": "ssh", "ssh_user": "deploy", "ssh_host_key": f"{HOST_KEY} root@web-1"}

    response = admin_page.post(reverse("admin:inventory_node_add"), node_form(**fields))

    assert response.status_code == 302
    assert Node.objects.get().ssh_host_key == HOST_KEY


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("/srv/instance-2", "is the deploy root of both"),
        ("/srv/instance-2/x", "lies inside"),
        ("/srv", "lies inside"),
        ("srv/x", "must be an absolute path"),
        ("/srv/../x", "must not contain"),
    ],
)
def test_a_root_in_the_way_of_another_is_refused(
    admin_page: Client, fleet: list[Instance], root: str, said: str
) -> None:
    response = admin_page.post(change_url(fleet[0]), instance_form(fleet[0], deploy_root=root))

    assert said in errors(response)
    assert Instance.objects.get(pk=fleet[0].pk).deploy_root == "/srv/instance-1"


def test_two_new_rows_in_each_others_way_are_refused(admin_page: Client, fleet: list[Instance]) -> None:
    service, node = fleet[0].service, fleet[0].node
    new = [
        {"instance_id": name, "node": node.pk, "port": 80, "deploy_root": root}
        for name, root in (("i-8", "/opt/a"), ("i-9", "/opt/a/b"))
    ]

    response = admin_page.post(change_url(service), service_form(service, instances=new))

    assert "lies inside" in errors(response)


def test_a_node_may_not_move_onto_roots_that_are_taken(admin_page: Client, fleet: list[Instance]) -> None:
    other = make_node("node-2", transport="ssh", ssh_user="u", ssh_host_key=HOST_KEY)
    Instance.objects.create(
        instance_id="i-9", service=fleet[0].service, node=other, port=1, deploy_root="/srv/instance-1"
    )

    response = admin_page.post(change_url(other), node_form(name="node-2", host="127.0.0.1"))

    assert "is the deploy root of both" in errors(response)


@pytest.mark.parametrize("changed", [{"deploy_root": "/srv/new"}, {"instance_id": "renamed"}])
def test_an_instance_at_work_is_neither_moved_nor_renamed(
    admin_page: Client, fleet: list[Instance], changed: dict[str, Any]
) -> None:
    busy(fleet[0])

    response = admin_page.post(change_url(fleet[0]), instance_form(fleet[0], **changed))

    assert "while deploy-1 is in progress on it" in errors(response)


def test_a_service_at_work_is_not_renamed(admin_page: Client, fleet: list[Instance]) -> None:
    busy(fleet[0])
    service = fleet[0].service

    response = admin_page.post(change_url(service), service_form(service, name="renamed"))

    assert "be renamed while an operation on it is in progress" in errors(response)


def test_an_instance_moved_elsewhere_has_an_unknown_status(admin_page: Client, fleet: list[Instance]) -> None:
    Instance.objects.update(running_version="v1", run_status="running")

    response = admin_page.post(change_url(fleet[0]), instance_form(fleet[0], deploy_root="/srv/new"))

    assert response.status_code == 302
    instance = Instance.objects.get(pk=fleet[0].pk)
    assert (instance.deploy_root, instance.running_version, instance.run_status) == ("/srv/new", "v1", "unknown")
    assert StatusChange.objects.get().actor_name == "ann"


@pytest.mark.parametrize("of", ["service", "node", "instance"])
def test_what_has_a_history_is_not_deleted(admin_page: Client, fleet: list[Instance], of: str) -> None:
    busy(fleet[0])
    obj: Any = fleet[0] if of == "instance" else getattr(fleet[0], of)

    page = admin_page.get(reverse(f"admin:inventory_{of}_delete", args=[obj.pk])).content.decode()
    answer = admin_page.post(reverse(f"admin:inventory_{of}_delete", args=[obj.pk]), {"post": "yes"})

    assert "has a history" in page or "has instances" in page
    assert answer.status_code in {200, 403}
    assert type(obj).objects.filter(pk=obj.pk).exists()


def test_what_has_no_history_is_deleted_and_that_is_in_the_audit(admin_page: Client) -> None:
    node = make_node()

    response = admin_page.post(reverse("admin:inventory_node_delete", args=[node.pk]), {"post": "yes"})

    assert response.status_code == 302
    assert not Node.objects.exists()
    assert edits().get().action == "node.delete"


def test_instances_come_a_page_at_a_time(admin_page: Client) -> None:
    service = make_service()
    make_instances(service, make_node(), 60)

    first = admin_page.get(change_url(service)).content.decode()
    third = admin_page.get(change_url(service), {"instances": 3}).content.decode()

    assert 'value="instance-25"' in first
    assert 'value="instance-26"' not in first
    assert "of 60 instances" in first
    assert 'value="instance-60"' in third
    assert 'value="instance-25"' not in third


def test_a_page_of_instances_takes_as_many_queries_as_one_of_them(
    admin_page: Client, django_assert_max_num_queries: Any
) -> None:
    service = make_service()
    for number in range(5):
        make_instances(service, make_node(f"n-{number}"), 5, root=f"/srv{number}", prefix=f"i{number}")

    with django_assert_max_num_queries(15):
        page = admin_page.get(change_url(service)).content.decode()

    assert page.count(" selected>n-4</option>") == 5


def test_a_row_of_a_later_page_is_saved(admin_page: Client) -> None:
    service = make_service()
    instances = make_instances(service, make_node(), 60)

    admin_page.post(
        f"{change_url(service)}?instances=3", service_form(service, instances=[row(instances[59], port=4444)])
    )

    assert Instance.objects.get(instance_id="instance-60").port == 4444
    assert Instance.objects.filter(port=4444).count() == 1


def test_a_person_limited_to_some_services_sees_only_those(
    admin_page: Client, ann: User, fleet: list[Instance]
) -> None:
    other = make_service("other")
    [theirs] = make_instances(other, fleet[0].node, 1, prefix="other")
    limit = ServiceLimit.objects.create(user=ann)
    limit.services.add(fleet[0].service)

    assert admin_page.get(change_url(fleet[0])).status_code == 200
    assert admin_page.get(change_url(theirs)).status_code == 302
    assert admin_page.get(change_url(other)).status_code == 302
    assert admin_page.get(reverse("admin:inventory_service_add")).status_code == 403
    assert "other-1" not in admin_page.get(reverse("admin:inventory_instance_changelist")).content.decode()
    answer = admin_page.post(change_url(fleet[0]), {**instance_form(fleet[0]), "service": other.pk})
    assert "Select a valid choice" in errors(answer)


def test_a_viewer_gets_nowhere(client: Client, fleet: list[Instance]) -> None:
    """Django's staff flag opens nothing; who is logged in is told so, and not sent round in a circle to log in."""
    client.force_login(User.objects.create_user("bob", is_staff=True))

    for url in (
        reverse("admin:index"),
        change_url(fleet[0]),
        reverse("admin:inventory_service_import_yaml"),
        reverse("admin:inventory_node_host_key"),
        reverse("admin:inventory_instance_export"),
    ):
        assert client.get(url).status_code == 403, url


@pytest.mark.parametrize("of", ["service", "node", "instance"])
def test_lists_take_as_many_queries_for_many_rows_as_for_few(
    admin_page: Client, django_assert_max_num_queries: Any, of: str
) -> None:
    make_instances(make_service(), make_node(), 60)
    for number in range(40):
        make_service(f"s-{number}")
        make_node(f"n-{number}")

    with django_assert_max_num_queries(22):
        response = admin_page.get(reverse(f"admin:inventory_{of}_changelist"))

    assert response.status_code == 200


def test_a_selection_goes_to_the_preview_of_a_rollback(admin_page: Client, fleet: list[Instance]) -> None:
    answer = admin_page.post(
        reverse("admin:inventory_instance_changelist"),
        {"action": "roll_back", "_selected_action": [fleet[0].pk, fleet[2].pk]},
    )

    assert answer.status_code == 302
    assert answer["Location"] == f"/services/user-service/roll-back?i={fleet[0].pk}&i={fleet[2].pk}"


def test_a_selection_over_two_services_does_not(admin_page: Client, fleet: list[Instance]) -> None:
    [other] = make_instances(make_service("other"), fleet[0].node, 1, prefix="other")

    page = admin_page.post(
        reverse("admin:inventory_instance_changelist"),
        {"action": "roll_back", "_selected_action": [fleet[0].pk, other.pk]},
        follow=True,
    ).content.decode()

    assert "all of one service" in page
