"""What a node says wins: the running versions are read from the nodes, and drift shows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from deploys.models import Operation, Target
from deploys.states import Kind, TargetStatus
from inventory.actors import ActorKind
from inventory.instances import sync
from inventory.instances.sync import SyncResult, sync_service
from inventory.models import Instance, Node, RunStatus, Service, StatusChange
from inventory.nodes import readings
from inventory.nodes.readings import Answer
from inventory.nodes.state import Survey
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.ports import free_port
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db

SHA256 = "ab" * 32


@pytest.fixture(params=["local", "ssh"])
def node(request: pytest.FixtureRequest, settings: Any) -> Node:
    if request.param == "local":
        return make_node()
    sshd: SshServer = request.getfixturevalue("sshd")
    settings.SSH_KEY_FILE = str(sshd.private_key)
    return make_node("node-1", **sshd.node_fields)


@pytest.fixture
def root(node: Node, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    yield Path(request.getfixturevalue("sshd").node_root()) if node.transport == "ssh" else tmp_path


@pytest.fixture
def instances(node: Node, root: Path) -> list[Instance]:
    """Three that run v1 as far as the database knows and the nodes say."""
    made = make_instances(make_service(), node, 3, root=root)
    for instance in made:
        release(instance, "v1")
        switch(instance, "releases/v1")
    known = {"running_version": "v1", "running_release": "v1", "running_sha256": SHA256, "run_status": "running"}
    Instance.objects.update(**known, expected_version="v1")
    return list(Instance.objects.order_by("natural_key"))


def release(instance: Instance, name: str, *, version: str | None = None) -> None:
    folder = Path(instance.deploy_root) / "releases" / name
    folder.mkdir(parents=True)
    told = {"version": version or name, "sha256": SHA256, "operation": "deploy-1", "installed_at": "now"}
    (folder / ".release.json").write_text(json.dumps(told, separators=(",", ":")))


def switch(instance: Instance, to: str) -> None:
    link = Path(instance.deploy_root) / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(to)


def at_work(instance: Instance, status: str = TargetStatus.IN_PROGRESS) -> Target:
    operation = Operation.objects.create(
        kind=Kind.DEPLOY,
        public_id=f"deploy-{instance.pk}",
        service=instance.service,
        version="v2",
        total=1,
        fingerprint="x",
        requested_by="ann",
        requested_by_kind=ActorKind.PERSON,
    )
    return Target.objects.create(operation=operation, instance=instance, kind=Kind.DEPLOY, status=status)


def run_sync() -> SyncResult:
    result = sync_service(Service.objects.get().pk)
    assert result is not None
    return result


def changes(instance: Instance) -> list[tuple[str, str, str, str]]:
    rows = StatusChange.objects.filter(instance=instance).order_by("pk")
    return list(rows.values_list("field", "old", "new", "note"))


def test_nothing_changes_where_all_agree(instances: list[Instance]) -> None:
    result = run_sync()

    assert (result.read, result.corrected, result.unreachable) == (3, 0, 0)
    assert not StatusChange.objects.exists()
    assert Service.objects.get().synced_at is not None


def test_a_link_changed_by_hand_shows_as_drift(instances: list[Instance]) -> None:
    release(instances[1], "v2")
    switch(instances[1], "releases/v2")

    result = run_sync()

    assert result.corrected == 1
    instance = Instance.objects.get(pk=instances[1].pk)
    assert (instance.running_version, instance.running_release) == ("v2", "v2")
    assert instance.drift == "link"
    assert instance.expected_version == "v1"
    assert changes(instance) == [("version", "v1", "v2", "drift: v1 was expected")]
    assert StatusChange.objects.get().actor_name == "node-1"


def test_drift_ends_when_the_link_is_put_back(instances: list[Instance]) -> None:
    release(instances[0], "v2")
    switch(instances[0], "releases/v2")
    run_sync()
    switch(instances[0], "releases/v1")

    run_sync()

    instance = Instance.objects.get(pk=instances[0].pk)
    assert instance.drift is None
    assert [row[1:3] for row in changes(instance)] == [("v1", "v2"), ("v2", "v1")]


def test_further_bytes_of_a_version_are_told_apart(instances: list[Instance]) -> None:
    release(instances[0], "v1@0123456789ab", version="v1")
    switch(instances[0], "releases/v1@0123456789ab")

    run_sync()

    instance = Instance.objects.get(pk=instances[0].pk)
    assert (instance.running_version, instance.running_release) == ("v1", "v1@0123456789ab")
    assert instance.drift is None
    assert changes(instance) == []


def test_a_folder_without_its_record_is_named_by_its_name(instances: list[Instance]) -> None:
    (Path(instances[0].deploy_root) / "releases" / "v9").mkdir()
    switch(instances[0], "releases/v9")

    run_sync()

    instance = Instance.objects.get(pk=instances[0].pk)
    assert (instance.running_version, instance.running_sha256) == ("v9", "")


@pytest.mark.parametrize("link", ["releases/gone", "/etc", "releases/../../.."])
def test_a_link_to_no_release_means_that_nothing_is_known_to_run(instances: list[Instance], link: str) -> None:
    switch(instances[0], link)

    run_sync()

    instance = Instance.objects.get(pk=instances[0].pk)
    assert (instance.running_version, instance.run_status) == ("", RunStatus.UNKNOWN)
    assert "leads to no release" in changes(instance)[0][3]


def test_an_instance_never_deployed_stays_without_a_version(node: Node, root: Path) -> None:
    make_instances(make_service(), node, 1, root=root)

    assert run_sync().read == 1
    assert Instance.objects.get().running_version == ""
    assert not StatusChange.objects.exists()


def test_a_strange_name_in_a_root_reaches_the_node_whole(node: Node, root: Path) -> None:
    instance = make_instances(make_service(), node, 1, root=f"{root}/a b'\"$(touch x);*")[0]
    release(instance, "v1")
    switch(instance, "releases/v1")

    run_sync()

    assert Instance.objects.get().running_version == "v1"


def test_an_instance_at_work_is_left_to_its_operation(instances: list[Instance]) -> None:
    release(instances[0], "v2")
    switch(instances[0], "releases/v2")
    at_work(instances[0])

    assert run_sync().read == 2
    assert Instance.objects.get(pk=instances[0].pk).running_version == "v1"


def test_a_waiting_target_does_not_keep_the_truth_away(instances: list[Instance]) -> None:
    release(instances[0], "v2")
    switch(instances[0], "releases/v2")
    at_work(instances[0], TargetStatus.PENDING)

    assert run_sync().corrected == 1


@pytest.mark.parametrize("finishes", [False, True])
def test_an_operation_that_came_between_reading_and_writing_wins(
    instances: list[Instance], monkeypatch: pytest.MonkeyPatch, finishes: bool
) -> None:
    release(instances[0], "v2")
    switch(instances[0], "releases/v2")
    read = readings.survey_nodes

    def read_and_be_overtaken(roots: readings.Roots) -> Iterator[list[Answer[Survey]]]:
        for answers in read(roots):
            target = at_work(instances[0])
            if finishes:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "UPDATE deploys_target SET status = 'completed', finished_at = clock_timestamp() WHERE id = %s",
                        [target.pk],
                    )
            yield answers

    monkeypatch.setattr(sync, "survey_nodes", read_and_be_overtaken)

    assert run_sync().read == 2
    assert Instance.objects.get(pk=instances[0].pk).running_version == "v1"


@pytest.mark.django_db(transaction=True)
def test_an_operation_that_holds_the_instance_is_waited_for_and_wins(instances: list[Instance]) -> None:
    release(instances[0], "v2")
    switch(instances[0], "releases/v2")
    is_held, is_read = threading.Event(), threading.Event()

    def claim() -> None:
        try:
            with transaction.atomic():
                Instance.objects.select_for_update(no_key=True).get(pk=instances[0].pk)
                is_held.set()
                is_read.wait(10)
                time.sleep(0.3)
                at_work(instances[0])
        finally:
            connection.close()

    claimer = threading.Thread(target=claim)
    claimer.start()
    assert is_held.wait(10)
    threading.Timer(0.5, is_read.set).start()

    result = run_sync()

    claimer.join()
    assert result.read == 2
    assert Instance.objects.get(pk=instances[0].pk).running_version == "v1"


def test_an_unreachable_node_makes_the_status_unknown_and_keeps_the_version(instances: list[Instance]) -> None:
    elsewhere = make_node("node-2", transport="ssh", ssh_user="x", ssh_port=free_port(), ssh_host_key=_some_key())
    Instance.objects.filter(pk=instances[0].pk).update(node=elsewhere)

    result = run_sync()

    assert (result.read, result.unreachable) == (2, 1)
    instance = Instance.objects.get(pk=instances[0].pk)
    assert (instance.running_version, instance.run_status) == ("v1", RunStatus.UNKNOWN)
    [(field, old, new, note)] = changes(instance)
    assert (field, old, new) == ("run_status", "running", "unknown")
    assert note.startswith("unreachable: ")


def test_a_node_that_comes_back_has_the_status_it_had(instances: list[Instance]) -> None:
    elsewhere = make_node("node-2", transport="ssh", ssh_user="x", ssh_port=free_port(), ssh_host_key=_some_key())
    home = instances[0].node
    Instance.objects.filter(pk=instances[0].pk).update(node=elsewhere)
    run_sync()
    Instance.objects.filter(pk=instances[0].pk).update(node=home)

    run_sync()

    assert Instance.objects.get(pk=instances[0].pk).run_status == RunStatus.RUNNING


def test_a_status_that_was_never_known_stays_unknown(instances: list[Instance]) -> None:
    Instance.objects.update(run_status=RunStatus.UNKNOWN)

    run_sync()

    assert set(Instance.objects.values_list("run_status", flat=True)) == {"unknown"}


def test_many_roots_of_a_node_are_read_over_one_connection(node: Node, root: Path) -> None:
    made = make_instances(make_service(), node, 450, root=root)
    for instance in made:
        release(instance, "v1")
        switch(instance, "releases/v1")

    assert run_sync().read == 450
    assert set(Instance.objects.values_list("running_version", flat=True)) == {"v1"}


def test_two_syncs_of_a_service_do_not_run_at_once(instances: list[Instance]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_service SET sync_started_at = now()")

    assert sync_service(Service.objects.get().pk) is None


def _some_key() -> str:
    import asyncssh

    return asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()


@pytest.mark.parametrize("node", ["local"], indirect=True)
def test_where_local_nodes_are_not_allowed_none_is_read(instances: list[Instance], settings: Any) -> None:
    settings.LOCAL_NODES = False

    result = run_sync()

    assert (result.read, result.unreachable) == (0, 3)
    assert "RELEASE_LOCAL_NODES" in StatusChange.objects.filter(field="run_status")[0].note
    assert set(Instance.objects.values_list("running_version", "run_status")) == {("v1", "unknown")}
