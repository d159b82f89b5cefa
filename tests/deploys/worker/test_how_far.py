"""How far a deploy goes (`until`): real packages on real nodes, local and over SSH; the drive runs in this process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from deploys.models import LogLine, Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, Until
from inventory.models import Instance, Node, Service, StatusChange
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db(transaction=True)

RESTART = 'echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"; ! test -e "$RELEASE_ROOT/current/broken"'
Deploy = Callable[..., Operation]


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
        operation = start_deploy(access=SCHEDULER, request=DeployRequest(**values))
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
