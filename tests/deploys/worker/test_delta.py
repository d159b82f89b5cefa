"""A deploy sends what changed, by push and by pull; and all of it where that can't be built upon."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.models import LogLine, Operation, Target
from deploys.operations.queries import operation_payload
from deploys.operations.start import DeployRequest, start_deploy
from deploys.packages import artifact_links
from deploys.packages.store import PackageStore, stored
from deploys.states import Kind, OperationStatus
from inventory.models import Delivery, Instance, Node, Service
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer
from tests.support.web import Web, running_web

pytestmark = pytest.mark.django_db(transaction=True)

COMMON = {f"lib/{number}": os.urandom(5000) for number in range(30)}
Deploy = Callable[..., Operation]


@pytest.fixture
def sshd_node(own_sshd: SshServer, settings: Settings) -> Node:
    settings.SSH_KEY_FILE = str(own_sshd.private_key)
    return make_node("ssh-1", **own_sshd.node_fields)


@pytest.fixture
def service(package_host: PackageHost, settings: Settings) -> Service:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return make_service(keep_releases=2)


@pytest.fixture
def fleet(service: Service, sshd_node: Node, own_sshd: SshServer) -> list[Instance]:
    """Three instances on one node."""
    return make_instances(service, sshd_node, root=own_sshd.node_root())


@pytest.fixture
def deploy(package_host: PackageHost, fleet: list[Instance], run_work_loop: Callable[[str], None]) -> Deploy:
    def run(version: str, files: Mapping[str, bytes] = COMMON, **changes: object) -> Operation:
        url = package_host.add(f"{version}.tar.gz", package({**files, "VERSION": version}))
        values = {"service": "user-service", "version": version, "instances": ids(fleet), "package_url": url, **changes}
        operation = start_deploy(access=SCHEDULER, request=DeployRequest(**values))  # type: ignore[arg-type]
        run_work_loop("deploys")
        operation.refresh_from_db()
        assert operation.status == OperationStatus.COMPLETED, said(operation)
        return operation

    return run


def said(operation: Operation) -> str:
    lines = LogLine.objects.filter(operation=operation).values_list("text", flat=True)
    return "\n".join([*lines, *Target.objects.filter(operation=operation).values_list("error_message", flat=True)])


def ways(operation: Operation) -> list[tuple[str, int | None]]:
    """Of each instance: where its release came from, and how many bytes were sent for it."""
    targets = Target.objects.filter(operation=operation, is_latest=True).order_by("instance_id")
    return list(targets.values_list("source", "sent_bytes"))


def current(instance: Instance) -> dict[str, bytes]:
    root = Path(instance.deploy_root, "current").resolve()
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".release.json"
    }


def test_what_changed_is_sent_once_to_a_node_and_told(deploy: Deploy, fleet: list[Instance]) -> None:
    deploy("v1")
    operation = deploy("v2", {**COMMON, "lib/3": b"changed"})

    full = stored(operation.package.sha256)  # type: ignore[union-attr]
    assert full is not None
    (_first, sent), *others = sorted(ways(operation), key=lambda each: -(each[1] or 0))
    assert sent is not None and 0 < sent < 1000 < full.artifact_bytes
    assert (_first, others) == ("delta", [("delta", 0), ("delta", 0)])
    for instance in fleet:
        assert current(instance) == {**COMMON, "lib/3": b"changed", "VERSION": b"v2"}
    told = said(operation)
    assert f"made of 'v1' there and of what differs: {sent} B of" in told
    assert told.count("of what was sent for another instance of this node") == 2
    status = operation_payload(SCHEDULER, Kind.DEPLOY, operation.public_id)
    shown = [(each["source"], each["sent_bytes"], each["full_bytes"]) for each in status["instances"]]
    assert ("delta", sent, full.artifact_bytes) in shown


def test_of_two_releases_there_the_nearer_one_is_taken_and_the_other_when_that_is_damaged(
    deploy: Deploy, fleet: list[Instance]
) -> None:
    many = {f"lib/{number}": os.urandom(5000) for number in range(8)}
    deploy("v1")
    deploy("v2", {**COMMON, **many}, instances=ids(fleet)[:1])
    operation = deploy("v3", {**COMMON, "lib/9": b"changed"}, instances=ids(fleet)[:1])
    assert "made of 'v1' there" in said(operation)

    nearer = Path(fleet[0].deploy_root, "releases/v3/lib/20")
    nearer.write_bytes(b"tampered with")
    operation = deploy("v4", {**COMMON, "lib/9": b"changed", "lib/10": b"too"}, instances=ids(fleet)[:1])

    told = said(operation)
    assert "Release 'v3' on the node can't be built upon: " in told
    assert f"{nearer} was changed or removed since it was staged." in told
    assert "made of 'v1' there" in told or "made of 'v2' there" in told
    assert current(fleet[0])["lib/20"] == COMMON["lib/20"]


def test_where_nearly_all_has_changed_all_of_it_goes(deploy: Deploy, fleet: list[Instance]) -> None:
    deploy("v1")
    operation = deploy("v2", {name: os.urandom(5000) for name in COMMON})
    assert [source for source, _sent in ways(operation)] == ["download"] * 3
    assert sum(sent or 0 for _source, sent in ways(operation)) == stored(operation.package.sha256).artifact_bytes  # type: ignore[union-attr]


def test_a_rollback_to_what_is_not_there_any_more_sends_what_differs(
    deploy: Deploy, fleet: list[Instance], run_work_loop: Callable[[str], None]
) -> None:
    deploy("v1")
    deploy("v2", {**COMMON, "lib/3": b"changed"})
    gone = Path(fleet[0].deploy_root, "releases/v1")
    gone.rename(gone.with_name("elsewhere"))
    request = InstanceRollbackRequest(instance_id=fleet[0].instance_id, target_version="v1")
    rollback = start_instance_rollback(access=SCHEDULER, request=request)

    run_work_loop("rollbacks")

    rollback.refresh_from_db()
    assert rollback.status == OperationStatus.COMPLETED, said(rollback)
    assert [source for source, _sent in ways(rollback)] == ["delta"]
    assert current(fleet[0]) == {**COMMON, "VERSION": b"v1"}


def test_a_part_that_has_gone_bad_in_the_store_keeps_nothing_from_being_deployed(
    deploy: Deploy, fleet: list[Instance], service: Service
) -> None:
    deploy("v1")
    changed = {**COMMON, "lib/3": b"changed"}
    staged = deploy("v2", changed, instances=ids(fleet)[:1])
    first = Path(fleet[0].deploy_root, "releases/v2")
    assert first.is_dir()
    (part,) = PackageStore.of_this_host().folder.glob(f"??/{staged.package.sha256}.from.*.tar.gz")  # type: ignore[union-attr]
    part.write_bytes(part.read_bytes()[:-20] + os.urandom(20))

    operation = deploy("v2", changed, instances=ids(fleet)[1:])

    assert current(fleet[1]) == {**changed, "VERSION": b"v2"}
    assert [source for source, _sent in ways(operation)] == ["download"] * 2
    assert not part.exists()


@pytest.fixture
def web() -> Iterator[Web]:
    with running_web() as web:
        yield web


def test_a_node_that_pulls_fetches_what_changed(
    web: Web, deploy: Deploy, fleet: list[Instance], settings: Settings, own_sshd: SshServer
) -> None:
    deploy("v1")
    Node.objects.update(delivery=Delivery.PULL)
    settings.PUBLIC_URL = web.url

    operation = deploy("v2", {**COMMON, "lib/3": b"changed"})

    assert sorted(source for source, _sent in ways(operation)) == ["delta"] * 3
    assert "the node fetched" in said(operation)
    assert web.log.count("request_finished") == 1
    assert "base=" in web.log
    assert current(fleet[2]) == {**COMMON, "lib/3": b"changed", "VERSION": b"v2"}


def test_where_the_part_can_not_be_fetched_all_of_it_is(
    web: Web, deploy: Deploy, fleet: list[Instance], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a web host of an earlier version, which knows of no parts."""
    deploy("v1", instances=ids(fleet)[:1])
    Node.objects.update(delivery=Delivery.PULL)
    settings.PUBLIC_URL = web.url
    monkeypatch.setattr(artifact_links, "_signed_text", lambda sha256, expires, _base: f"{sha256}:{expires}")

    operation = deploy("v2", {**COMMON, "lib/3": b"changed"}, instances=ids(fleet)[:1])

    assert [source for source, _sent in ways(operation)] == ["download"]
    assert "Release 'v1' on the node can't be built upon: The node could not fetch the package itself" in said(
        operation
    )
