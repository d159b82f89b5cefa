"""How far a deploy goes (`until`): real packages on real nodes, local and over SSH; the drive runs in this process."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone
from pytest_django import Settings

from deploys.host.store_retention import wanted
from deploys.models import LogLine, Operation, Target
from deploys.operations.staged import staged_on
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, Until
from inventory.models import Instance, Node, Service, StatusChange
from rollbacks.plan import build_plan
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package, sha256
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db(transaction=True)

RESTART = 'echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"; ! test -e "$RELEASE_ROOT/current/broken"'
Deploy = Callable[..., Operation]
on_this_machine = pytest.mark.parametrize("node", ["local"], indirect=True)


@pytest.fixture(params=["local", "ssh"])
def node(request: pytest.FixtureRequest, settings: Settings) -> Node:
    if request.param == "local":
        return make_node("local-1")
    sshd: SshServer = request.getfixturevalue("sshd")
    settings.SSH_KEY_FILE = str(sshd.private_key)
    return make_node("ssh-1", **sshd.node_fields)


@pytest.fixture
def root(node: Node, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if node.transport == "local" else request.getfixturevalue("sshd").node_root()


@pytest.fixture
def service(package_host: PackageHost, settings: Settings) -> Service:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return make_service(restart_command=RESTART, command_timeout=20, keep_releases=2)


@pytest.fixture
def fleet(service: Service, node: Node, root: str) -> list[Instance]:
    return make_instances(service, node, 2, root=root)


@pytest.fixture
def deploy(package_host: PackageHost, fleet: list[Instance], run_work_loop: Callable[[str], None]) -> Deploy:
    def run(version: str, until: Until = Until.SWITCHED, **changes: Any) -> Operation:
        files = changes.pop("files", {"app.py": f"print('{version}')\n", "bin/run": "#!/bin/sh\n"})
        values: dict[str, Any] = {
            "service": "user-service",
            "version": version,
            "instances": ids(fleet),
            "package_url": package_host.add(f"{version}.tar.gz", package(files)),
            "until": until,
            **changes,
        }
        is_left_waiting = values.pop("is_left_waiting", False)
        operation = start_deploy(access=SCHEDULER, request=DeployRequest(**values))
        if not is_left_waiting:
            run_work_loop("deploys")
        operation.refresh_from_db()
        return operation

    return run


def tree(root: str) -> str:
    """A digest of all that stands there: names, kinds, links, contents, modes and times."""
    digest = hashlib.sha256()
    for folder, folders, files in sorted(os.walk(root)):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            stat = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
            digest.update(repr((str(path), stat.st_mode, stat.st_mtime_ns, stat.st_size, content)).encode())
    return digest.hexdigest()


def facts(instance: Instance) -> dict[str, Any]:
    """All that an instance is known to be, but for when it was last worked on."""
    row = Instance.objects.filter(pk=instance.pk).values().get()
    return {name: value for name, value in row.items() if name != "changed_at"}


def ends(operation: Operation) -> set[tuple[str, str, str, str]]:
    return set(operation.targets.values_list("status", "step", "error_code", "source"))


def said(operation: Operation) -> str:
    return "\n".join(LogLine.objects.filter(operation=operation).order_by("seq").values_list("text", flat=True))


def test_a_check_changes_nothing_on_the_node(deploy: Deploy, fleet: list[Instance], root: str) -> None:
    assert deploy("v1", Until.CHECKED).status == OperationStatus.COMPLETED
    assert not Path(fleet[0].deploy_root).exists()
    deploy("v1")
    before, known = tree(root), [facts(instance) for instance in fleet]

    operation = deploy("v2", Until.CHECKED)

    assert operation.status == OperationStatus.COMPLETED, said(operation)
    assert ends(operation) == {("completed", "check", "", "")}
    assert tree(root) == before
    assert [facts(instance) for instance in fleet] == known
    assert "can be staged. Nothing was changed" in said(operation)
    assert not StatusChange.objects.filter(operation_id=operation.pk).exclude(field="target").exists()


def test_staged_is_whole_on_every_instance_and_switched_on_none(deploy: Deploy, fleet: list[Instance]) -> None:
    deploy("v1")
    known = [facts(instance) for instance in fleet]

    operation = deploy("v2", Until.STAGED)

    assert operation.status == OperationStatus.COMPLETED, said(operation)
    assert ends(operation) == {("completed", "stage", "", "download")}
    for instance in fleet:
        base = Path(instance.deploy_root)
        assert (base / "releases/v2/app.py").read_text() == "print('v2')\n"
        assert os.readlink(base / "current") == "releases/v1"
        assert (base / "restarts").read_text() == "v1\n"
    assert [facts(instance) for instance in fleet] == known
    assert "is staged. Nothing was switched" in said(operation)
    assert ends(deploy("v2", Until.CHECKED)) == {("completed", "check", "", "")}


def faults_of_a_root(base: Path) -> dict[str, Callable[[], object]]:
    """By error code: what makes a deploy to this root fail."""

    def file_for_current() -> None:
        (base / "current").unlink()
        (base / "current").write_text("theirs")

    def file_for_releases() -> None:
        (base / "releases").rename(base / "were-releases")
        (base / "releases").write_text("theirs")

    return {
        "release_exists": lambda: (base / "releases/v2").mkdir(),
        "switch_failed": file_for_current,
        "node_not_writable": file_for_releases,
    }


@on_this_machine
@pytest.mark.parametrize("code", ["release_exists", "switch_failed", "node_not_writable"])
def test_a_check_fails_for_what_a_deploy_would_fail_for(deploy: Deploy, fleet: list[Instance], code: str) -> None:
    deploy("v1")
    faults_of_a_root(Path(fleet[0].deploy_root))[code]()
    before = tree(fleet[0].deploy_root)

    operation = deploy("v2", Until.CHECKED)

    target = Target.objects.get(operation=operation, instance=fleet[0])
    assert (target.status, target.step, target.error_code) == ("failed", "check", code), target.error_message
    assert fleet[0].deploy_root in target.error_message
    assert Target.objects.get(operation=operation, instance=fleet[1]).status == "completed"
    assert tree(fleet[0].deploy_root) == before


class Away:
    """The package host stops answering, and the store forgets what it has."""

    def __init__(self, package_host: PackageHost, settings: Settings) -> None:
        self._host, self._settings = package_host, settings

    def __call__(self) -> None:
        self._settings.PACKAGE_HOSTS = ()
        shutil.rmtree(Path(self._settings.DATA_DIR) / "packages")

    @property
    def requests(self) -> int:
        return len(self._host.requests)


@pytest.fixture
def take_packages_away(package_host: PackageHost, settings: Settings) -> Away:
    return Away(package_host, settings)


def test_a_deploy_of_what_is_staged_needs_neither_package_host_nor_store(
    deploy: Deploy, fleet: list[Instance], service: Service, take_packages_away: Away
) -> None:
    deploy("v1")
    deploy("v2", Until.STAGED)
    take_packages_away()
    asked = take_packages_away.requests

    operation = deploy("v2")

    assert operation.status == OperationStatus.COMPLETED, said(operation)
    assert ends(operation) == {("completed", "done", "", "node")}
    assert take_packages_away.requests == asked
    for instance in fleet:
        instance.refresh_from_db()
        assert (instance.running_version, instance.expected_version) == ("v2", "v2")
        assert instance.release_history == ["v1", "v2"]
        assert os.readlink(f"{instance.deploy_root}/current") == "releases/v2"
    assert not staged_on([each.pk for each in fleet], services=[service.pk])


@on_this_machine
def test_its_before_switch_command_runs_with_the_switch_and_not_before(
    deploy: Deploy, fleet: list[Instance], service: Service, take_packages_away: Away
) -> None:
    service.before_switch_command = 'echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/prepared"'
    service.save()
    deploy("v1", Until.STAGED)
    prepared = Path(fleet[0].deploy_root) / "prepared"
    assert not prepared.exists()
    take_packages_away()

    assert ends(deploy("v1")) == {("completed", "done", "", "node")}
    assert prepared.read_text() == "v1\n"


@on_this_machine
@pytest.mark.parametrize("command", ["", "true"])
def test_one_that_was_changed_on_the_node_is_staged_anew(
    deploy: Deploy, fleet: list[Instance], service: Service, package_host: PackageHost, command: str
) -> None:
    service.before_switch_command = command
    service.save()
    deploy("v1", Until.STAGED)
    changed = Path(fleet[0].deploy_root) / "releases/v1/app.py"
    changed.write_text("print('v6.6.6')\n")
    shutil.rmtree(Path(fleet[1].deploy_root) / "releases/v1")
    asked = len(package_host.requests)

    operation = deploy("v1")

    assert ends(operation) == {("completed", "done", "", "store")}, said(operation)
    assert changed.read_text() == "print('v1')\n"
    assert len(package_host.requests) == asked
    assert "app.py was changed" in said(operation)


@on_this_machine
def test_an_instance_that_it_is_not_staged_on_gets_it_from_the_store(
    deploy: Deploy, fleet: list[Instance], package_host: PackageHost
) -> None:
    deploy("v1", Until.STAGED, instances=(fleet[0].instance_id,))

    operation = deploy("v1")

    assert operation.status == OperationStatus.COMPLETED, said(operation)
    assert Target.objects.get(operation=operation, instance=fleet[0]).source == "node"
    assert len(package_host.requests_for("v1.tar.gz")) == 1


@on_this_machine
def test_other_bytes_than_the_staged_ones_are_refused(deploy: Deploy) -> None:
    deploy("v1", Until.STAGED)
    other = {"app.py": "other bytes"}

    assert {end[2] for end in ends(deploy("v1", files=other, sha256=sha256(package(other))))} == {
        "package_digest_conflict"
    }


@on_this_machine
def test_where_bytes_may_change_a_deploy_asks_which_unless_it_says_so(
    deploy: Deploy, service: Service, package_host: PackageHost
) -> None:
    service.mutable_versions = True
    service.save()
    deploy("nightly", Until.STAGED)
    staged = Operation.objects.get().package
    assert staged is not None

    assert ends(deploy("nightly", files={"app.py": "other bytes"})) == {("completed", "done", "", "download")}
    asked = len(package_host.requests)
    assert ends(deploy("nightly", sha256=staged.sha256)) == {("completed", "done", "", "node")}
    assert len(package_host.requests) == asked


@on_this_machine
def test_a_signed_one_is_taken_from_the_node_as_long_as_the_key_is_the_same(
    deploy: Deploy, service: Service, package_host: PackageHost, take_packages_away: Away
) -> None:
    files = {"app.py": "print('v1')\n"}
    key, other_key = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    service.signing_key = key.public_key().public_bytes_raw().hex()
    service.save()
    package_host.add("v1.tar.gz.sig", key.sign(bytes.fromhex(sha256(package(files)))))
    deploy("v1", Until.STAGED, files=files)
    take_packages_away()

    service.signing_key = other_key.public_key().public_bytes_raw().hex()
    service.save()
    assert {end[2] for end in ends(deploy("v1", files=files))} == {"package_host_not_allowed"}
    service.signing_key = key.public_key().public_bytes_raw().hex()
    service.save()
    assert ends(deploy("v1", files=files)) == {("completed", "done", "", "node")}


@on_this_machine
def test_what_is_staged_is_kept_until_its_days_are_over(
    deploy: Deploy, fleet: list[Instance], service: Service
) -> None:
    """keep_releases is 2: without being staged it would have gone at the second switch."""
    deploy("staged", Until.STAGED)
    (package_kept,) = {operation.package for operation in Operation.objects.all()}
    assert package_kept is not None
    for version in ("v1", "v2", "v3"):
        deploy(version)
    folders = [Path(instance.deploy_root) / "releases" for instance in fleet]

    assert {frozenset(os.listdir(folder)) for folder in folders} == {frozenset({"staged", "v2", "v3"})}
    assert package_kept.sha256 in wanted()

    over = timezone.now() - timedelta(days=service.staged_days, seconds=1)
    Target.objects.filter(operation__until=Until.STAGED).update(finished_at=over)
    Operation.objects.filter(until=Until.STAGED).update(finished_at=over)
    assert package_kept.sha256 not in wanted()
    deploy("v4")
    assert {frozenset(os.listdir(folder)) for folder in folders} == {frozenset({"v3", "v4"})}


@on_this_machine
def test_a_rollback_meanwhile_is_as_if_nothing_were_staged(
    deploy: Deploy, fleet: list[Instance], run_work_loop: Callable[[str], None]
) -> None:
    deploy("v1")
    deploy("v2")
    known = offered(fleet[0])
    deploy("v3", Until.STAGED)
    deploy("v2", Until.CHECKED)
    waiting = deploy("v4", Until.STAGED, is_left_waiting=True)
    assert offered(fleet[0]) == known

    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id=fleet[0].instance_id)
    )
    run_work_loop("rollbacks")

    rollback.refresh_from_db()
    assert (rollback.version, rollback.status) == ("v1", OperationStatus.COMPLETED), said(rollback)
    assert (rollback.undoes.version, rollback.undoes.until) == ("v2", Until.SWITCHED) if rollback.undoes else False
    assert waiting.targets.get(instance=fleet[0]).status == "superseded"
    assert (Path(fleet[0].deploy_root) / "releases/v3").is_dir()


def offered(instance: Instance) -> list[tuple[str, bool]]:
    instances = Instance.objects.filter(service=instance.service)
    return [(offer.version, offer.is_last_good) for offer in build_plan(instance.service, instances).offers]
