"""A service that another tool deployed, taken over: its first deploys, good and bad, and the way back to what was there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.models import Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import TargetStatus
from inventory.errors import InvalidRequest
from inventory.instances.sync import sync_service
from inventory.models import Instance, Service
from rollbacks.plan import build_plan
from rollbacks.services import (
    BatchRollbackRequest,
    InstanceRollbackRequest,
    start_batch_rollback,
    start_instance_rollback,
)
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service
from tests.support.foreign_trees import (
    CAPISTRANO_RELEASES,
    capistrano,
    contents,
    deployer,
    linked_build,
    shared_with_the_login,
    uploads,
)
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db(transaction=True)

RESTART = 'echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"; ! test -e "$RELEASE_ROOT/current/broken"'


@pytest.fixture
def service(package_host: PackageHost, settings: Settings) -> Service:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return make_service(restart_command=RESTART, command_timeout=20, keep_releases=1)


@pytest.fixture
def instance(service: Service, sshd: SshServer, settings: Settings) -> Instance:
    """Its login is not root, and owns nothing of what another tool has put there."""
    settings.SSH_KEY_FILE = str(sshd.private_key)
    node = make_node("ssh-1", **sshd.node_fields)
    return make_instances(service, node, root=sshd.node_root(), count=1)[0]


@pytest.fixture
def root(instance: Instance) -> Path:
    return Path(instance.deploy_root)


@pytest.fixture
def deploy(
    package_host: PackageHost, instance: Instance, run_work_loop: Callable[[str], None]
) -> Callable[..., Target]:
    def run(version: str, *, is_broken: bool = False) -> Target:
        files = {"app.py": version} | ({"broken": "yes"} if is_broken else {})
        url = package_host.add(f"{version}.tar.gz", package(files))
        request = DeployRequest(
            service="user-service", version=version, instances=(instance.instance_id,), package_url=url
        )
        return carried_out(start_deploy(access=SCHEDULER, request=request), run_work_loop)

    return run


@pytest.fixture
def roll_back(instance: Instance, run_work_loop: Callable[[str], None]) -> Callable[..., Target]:
    def run(version: str | None = None) -> Target:
        request = InstanceRollbackRequest(instance_id=instance.instance_id, target_version=version)
        return carried_out(start_instance_rollback(access=SCHEDULER, request=request), run_work_loop)

    return run


def carried_out(operation: Operation, run_work_loop: Callable[[str], None]) -> Target:
    run_work_loop(f"{operation.kind}s")
    return operation.targets.get()


def adopted(tree: Callable[[Path], object], root: Path) -> str:
    led = str(tree(root))
    shared_with_the_login(root)
    return led


def sync(service: Service) -> None:
    assert sync_service(service.pk) is not None


def facts(instance: Instance) -> tuple[str, list[str], str]:
    instance.refresh_from_db()
    return instance.running_version, instance.release_history, instance.found_release


@pytest.mark.parametrize("is_synced", [True, False])
@pytest.mark.parametrize("tree", [capistrano, deployer])
def test_it_is_rolled_back_to_what_was_found(
    tree: Callable[[Path], str],
    is_synced: bool,
    service: Service,
    instance: Instance,
    root: Path,
    deploy: Callable[..., Target],
    roll_back: Callable[..., Target],
) -> None:
    found = adopted(tree, root)
    theirs = contents(root / "releases")
    if is_synced:
        sync(service)
        assert facts(instance) == (found, [found], found)
    for version in ("v1", "v2", "v3"):
        assert deploy(version).status == TargetStatus.COMPLETED
    assert facts(instance) == ("v3", [found, "v1", "v2", "v3"], found)
    plan = build_plan(service, service.instances.all(), version=found)
    assert ([(row.source, row.is_found) for row in plan.rows], plan.is_possible) == ([("node", True)], True)
    assert not any(row.is_found for row in build_plan(service, service.instances.all(), version="v1").rows)

    target = roll_back(found)

    assert (target.status, target.source) == (TargetStatus.COMPLETED, "node"), target.error_message
    assert facts(instance) == (found, [found], found)
    assert (root / "current").resolve() == (root / "releases" / found).resolve()
    assert (root / "restarts").read_text().splitlines() == ["v1", "v2", "v3", found]
    left = contents(root / "releases")
    assert {name: left[name] for name in theirs} == theirs
    assert deploy("v4").status == TargetStatus.COMPLETED
    assert roll_back().operation.version == found


def test_what_was_found_is_not_rolled_back_to_once_it_has_changed(
    instance: Instance, root: Path, deploy: Callable[..., Target], roll_back: Callable[..., Target]
) -> None:
    found = adopted(capistrano, root)
    deploy("v1")
    (root / "releases" / found / "VERSION").write_text("evil")
    target = roll_back()
    assert (target.status, target.error_code) == (TargetStatus.FAILED, "switch_failed")
    assert f"{root}/releases/{found} was changed" in target.error_message
    assert "link `current` to it by hand and sync the service" in target.error_message
    assert os.readlink(root / "current") == "releases/v1"
    assert facts(instance) == ("v1", [found, "v1"], found)


def test_a_version_that_was_found_on_some_instances_only_is_unknown_to_the_others(
    service: Service, instance: Instance, root: Path
) -> None:
    found = adopted(capistrano, root)
    other = Instance.objects.create(
        instance_id="other", service=service, node=make_node("other"), port=1, deploy_root="/srv/other"
    )
    sync(service)
    instances = (instance.instance_id, other.instance_id)
    request = BatchRollbackRequest(service="user-service", target_version=found, instances=instances)
    with pytest.raises(InvalidRequest) as refused:
        start_batch_rollback(access=SCHEDULER, request=request)
    [problem] = refused.value.problems
    assert problem.code == "package_unknown"
    assert f"it was not found on {other.instance_id}." in problem.detail


def test_a_first_deploy_that_fails_goes_back_to_a_build_elsewhere(
    service: Service, instance: Instance, root: Path, deploy: Callable[..., Target]
) -> None:
    led = adopted(lambda root: linked_build(root, root.with_name("builds") / "42"), root)
    target = deploy("v1", is_broken=True)
    assert (target.status, target.error_code, target.reverted) == (TargetStatus.FAILED, "command_failed", True)
    assert f"`current` leads to {led} again, which was restarted." in target.error_message
    assert os.readlink(root / "current") == led
    instance.refresh_from_db()
    assert (instance.running_version, instance.found_current) == ("", led)
    assert deploy("v2").status == TargetStatus.COMPLETED
    sync(service)
    instance.refresh_from_db()
    assert (instance.running_version, instance.found_current) == ("v2", led)


def test_a_deploy_of_a_version_that_another_tool_installed_is_refused(
    instance: Instance, root: Path, deploy: Callable[..., Target]
) -> None:
    adopted(capistrano, root)
    before = contents(uploads(root / "releases" / "1.2.0"))
    target = deploy("1.2.0")
    assert (target.status, target.error_code) == (TargetStatus.FAILED, "release_exists")
    assert contents(root / "releases" / "1.2.0") == before
    assert (root / "current").resolve().name == CAPISTRANO_RELEASES[-1]
