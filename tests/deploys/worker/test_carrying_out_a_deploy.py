"""Real packages on real nodes, local and over SSH; the drive runs in this process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from deploys.models import LogLine, Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, TargetStatus
from deploys.worker import leases, work_loop
from deploys.worker.claims import StopRequest, stop_requests
from deploys.worker.leases import is_held
from deploys.worker.node_work import NodeWork
from inventory.models import Instance, Node, Service, StatusChange
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package, sha256
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db(transaction=True)

RESTART = 'echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"; ! test -e "$RELEASE_ROOT/current/broken"'


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
    return make_instances(service, node, root=root)


@pytest.fixture
def deploy(
    package_host: PackageHost, fleet: list[Instance], run_work_loop: Callable[[str], None]
) -> Callable[..., Operation]:
    def run(version: str, *, files: dict[str, str] | None = None, **changes: object) -> Operation:
        content = package(files or {"app.py": f"print('{version}')\n", "bin/run": "#!/bin/sh\n"})
        url = package_host.add(f"{version}.tar.gz", content)
        values: dict[str, object] = {
            "service": "user-service",
            "version": version,
            "instances": ids(fleet),
            "package_url": url,
            **changes,
        }
        operation = start_deploy(access=SCHEDULER, request=DeployRequest(**values))  # type: ignore[arg-type]
        run_work_loop("deploys")
        operation.refresh_from_db()
        return operation

    return run


def current(instance: Instance) -> str:
    return os.readlink(f"{instance.deploy_root}/current")


def test_it_puts_the_release_on_every_instance(
    deploy: Callable[..., Operation], fleet: list[Instance], package_host: PackageHost
) -> None:
    operation = deploy("v1.0.0")

    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("status", "error_message"))
    assert operation.completed == 3
    assert len(package_host.requests_for("v1.0.0.tar.gz")) == 1
    for instance in fleet:
        instance.refresh_from_db()
        assert (instance.running_version, instance.run_status) == ("v1.0.0", "running")
        assert current(instance) == "releases/v1.0.0"
        release = Path(instance.deploy_root) / "current"
        assert (release / "app.py").read_text() == "print('v1.0.0')\n"
        note = json.loads((release / ".release.json").read_text())
        assert set(note) == {"version", "sha256", "operation", "installed_at"}
        assert note["operation"] == operation.public_id
        assert (Path(instance.deploy_root) / "restarts").read_text() == "v1.0.0\n"
        changes = StatusChange.objects.filter(instance=instance).order_by("id").values_list("field", "old", "new")
        assert list(changes) == [
            ("target", "pending", "in_progress"),
            ("target", "in_progress", "completed"),
            ("version", "", "v1.0.0"),
            ("run_status", "unknown", "running"),
        ]


def test_a_failed_restart_goes_back_to_the_previous_release(
    deploy: Callable[..., Operation], fleet: list[Instance]
) -> None:
    deploy("v1.0.0")

    operation = deploy("v1.1.0", files={"app.py": "x", "broken": "yes"})

    assert operation.status == OperationStatus.FAILED
    for target in operation.targets.all():
        assert (target.status, target.error_code, target.reverted) == (TargetStatus.FAILED, "command_failed", True)
    for instance in fleet:
        instance.refresh_from_db()
        assert instance.running_version == "v1.0.0"
        assert instance.release_history == ["v1.0.0"]
        assert current(instance) == "releases/v1.0.0"
        assert (Path(instance.deploy_root) / "restarts").read_text() == "v1.0.0\nv1.1.0\nv1.0.0\n"


def test_with_nothing_to_go_back_to_it_says_so(deploy: Callable[..., Operation], fleet: list[Instance]) -> None:
    operation = deploy("v1.0.0", files={"app.py": "x", "broken": "yes"})

    target = operation.targets.filter(instance=fleet[0]).get()
    assert (target.status, target.reverted) == (TargetStatus.FAILED, False)
    fleet[0].refresh_from_db()
    assert (fleet[0].running_version, fleet[0].run_status) == ("v1.0.0", "failed")


def test_a_rollback_takes_the_release_from_the_node_and_asks_no_package_host(
    deploy: Callable[..., Operation],
    fleet: list[Instance],
    package_host: PackageHost,
    run_work_loop: Callable[[str], None],
) -> None:
    deploy("v1.0.0")
    deploy("v1.1.0")
    asked = len(package_host.requests)

    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id=fleet[0].instance_id)
    )
    run_work_loop("rollbacks")

    target = rollback.targets.get()
    assert (target.status, target.source) == (TargetStatus.COMPLETED, "node")
    fleet[0].refresh_from_db()
    assert fleet[0].running_version == "v1.0.0"
    assert fleet[0].release_history == ["v1.0.0"]
    assert len(package_host.requests) == asked


def test_a_tampered_release_is_staged_anew_and_never_switched_to(
    deploy: Callable[..., Operation],
    fleet: list[Instance],
    package_host: PackageHost,
    run_work_loop: Callable[[str], None],
) -> None:
    deploy("v1.0.0")
    deploy("v1.1.0")
    tampered = Path(fleet[0].deploy_root) / "releases/v1.0.0/app.py"
    tampered.write_text("print('v6.6.6')\n")

    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id=fleet[0].instance_id)
    )
    run_work_loop("rollbacks")

    target = rollback.targets.get()
    assert (target.status, target.source) == (TargetStatus.COMPLETED, "store")
    assert tampered.read_text() == "print('v1.0.0')\n"


def test_a_release_that_is_nowhere_any_more_is_downloaded_again(
    deploy: Callable[..., Operation],
    fleet: list[Instance],
    package_host: PackageHost,
    settings: Settings,
    run_work_loop: Callable[[str], None],
) -> None:
    deploy("v1.0.0")
    deploy("v1.1.0")
    shutil.rmtree(Path(fleet[0].deploy_root) / "releases/v1.0.0")
    shutil.rmtree(Path(settings.DATA_DIR) / "packages")

    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id=fleet[0].instance_id)
    )
    run_work_loop("rollbacks")

    target = rollback.targets.get()
    assert (target.status, target.source) == (TargetStatus.COMPLETED, "download")
    assert len(package_host.requests_for("v1.0.0.tar.gz")) == 2
    assert current(fleet[0]) == "releases/v1.0.0"


def test_other_bytes_under_the_same_version_are_refused(
    deploy: Callable[..., Operation], fleet: list[Instance]
) -> None:
    deploy("v1.0.0")

    operation = deploy("v1.0.0", files={"app.py": "other bytes"})

    assert set(operation.targets.values_list("error_code", flat=True)) == {"package_digest_conflict"}
    assert (Path(fleet[0].deploy_root) / "current/app.py").read_text() == "print('v1.0.0')\n"


def test_a_mutable_version_gets_a_folder_of_its_own_for_other_bytes(
    deploy: Callable[..., Operation], fleet: list[Instance], service: Service
) -> None:
    service.mutable_versions = True
    service.save()
    deploy("nightly")
    other = {"app.py": "other bytes"}

    operation = deploy("nightly", files=other)

    assert operation.status == OperationStatus.COMPLETED
    assert current(fleet[0]) == f"releases/nightly@{sha256(package(other))[:12]}"
    fleet[0].refresh_from_db()
    assert fleet[0].running_version == "nightly"


def test_a_wrong_sha256_is_refused_before_any_node_is_touched(
    deploy: Callable[..., Operation], fleet: list[Instance]
) -> None:
    operation = deploy("v1.0.0", sha256="0" * 64)

    assert set(operation.targets.values_list("error_code", flat=True)) == {"package_checksum_mismatch"}
    assert not Path(fleet[0].deploy_root).exists()


def test_the_commands_run_in_the_release_with_their_environment_and_are_logged_line_by_line(
    deploy: Callable[..., Operation], fleet: list[Instance], service: Service
) -> None:
    service.before_switch_command = "pwd; env | grep ^RELEASE_ | sort; echo oops >&2"
    service.save()

    operation = deploy("v1.0.0")

    lines = LogLine.objects.filter(operation=operation, instance=fleet[1])
    printed = set(lines.filter(stream="stdout").values_list("text", flat=True))
    root = fleet[1].deploy_root
    assert {
        f"{root}/releases/v1.0.0",
        "RELEASE_SERVICE=user-service",
        "RELEASE_VERSION=v1.0.0",
        "RELEASE_PREVIOUS_VERSION=",
        "RELEASE_INSTANCE=instance-2",
        f"RELEASE_PORT={fleet[1].port}",
        f"RELEASE_ROOT={root}",
        f"RELEASE_OPERATION={operation.public_id}",
    } <= printed
    assert list(lines.filter(stream="stderr").values_list("text", "step")) == [("oops", "before_switch")]


def test_a_failing_before_switch_command_leaves_the_old_version_running(
    deploy: Callable[..., Operation], fleet: list[Instance], service: Service
) -> None:
    deploy("v1.0.0")
    service.before_switch_command = "exit 3"
    service.save()

    operation = deploy("v1.1.0")

    assert set(operation.targets.values_list("error_code", flat=True)) == {"command_failed"}
    assert current(fleet[0]) == "releases/v1.0.0"


def test_old_releases_are_removed_but_never_the_current_and_the_previous_one(
    deploy: Callable[..., Operation], fleet: list[Instance]
) -> None:
    for version in ("v1", "v2", "v3", "v4"):
        deploy(version)

    assert sorted(os.listdir(f"{fleet[0].deploy_root}/releases")) == ["v3", "v4"]


def test_after_the_database_was_made_anew_the_nodes_follow_it(
    deploy: Callable[..., Operation], fleet: list[Instance]
) -> None:
    deploy("v1.0.0")
    deploy("v1.1.0")
    with connection.cursor() as cursor:
        cursor.execute("ALTER SEQUENCE deploys_fence RESTART WITH 1")

    operation = deploy("v1.2.0")

    assert operation.status == OperationStatus.COMPLETED
    assert current(fleet[0]) == "releases/v1.2.0"


def test_instances_that_saw_different_claims_are_all_followed(
    deploy: Callable[..., Operation], fleet: list[Instance]
) -> None:
    """Whichever of them is heard first, the others' claims are not taken for lost."""
    deploy("v1.0.0")
    for steps_ahead, instance in zip((3000, 1000, 2000), fleet, strict=True):
        _leave_claim(instance, _last_fence() + steps_ahead)

    operation = deploy("v1.1.0")

    assert operation.status == OperationStatus.COMPLETED
    assert _last_fence() > 3000


@pytest.mark.parametrize("node", ["local"], indirect=True)
def test_what_is_let_go_while_the_loop_asks_the_database_is_taken_again(
    deploy: Callable[..., Operation], fleet: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last node's work ends in the middle of the look for requests to stop."""
    deploy("v1.0.0")
    _leave_claim(fleet[0], _last_fence() + 1000)
    is_looking = threading.Event()

    def slow_look(target_ids: Iterable[int]) -> dict[int, StopRequest]:
        is_looking.set()
        time.sleep(1)
        return stop_requests(target_ids)

    def held_until_it_looks(target_id: int, fence: int) -> bool:
        assert is_looking.wait(10)
        return is_held(target_id, fence)

    monkeypatch.setattr(work_loop, "stop_requests", slow_look)
    monkeypatch.setattr(leases, "is_held", held_until_it_looks)

    assert deploy("v1.1.0").status == OperationStatus.COMPLETED


@pytest.mark.parametrize("node", ["local"], indirect=True)
def test_what_is_let_go_before_its_node_is_cleaned_up_is_taken_again(
    deploy: Callable[..., Operation], fleet: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy("v1.0.0")
    _leave_claim(fleet[0], _last_fence() + 1000)
    clean_up = NodeWork.clean_up

    async def slow_clean_up(node_work: NodeWork) -> None:
        await asyncio.sleep(1)
        await clean_up(node_work)

    monkeypatch.setattr(NodeWork, "clean_up", slow_clean_up)

    assert deploy("v1.1.0").status == OperationStatus.COMPLETED


def test_a_node_that_names_an_impossible_claim_fails_and_moves_nobodys_claims(
    deploy: Callable[..., Operation], fleet: list[Instance]
) -> None:
    deploy("v1.0.0")
    before = _last_fence()
    _leave_claim(fleet[0], 10**17)

    operation = deploy("v1.1.0")

    failed = operation.targets.get(status="failed")
    assert (failed.instance, failed.error_code) == (fleet[0], "internal_error")
    assert "claim.*" in failed.error_message
    assert operation.targets.filter(status="completed").count() == len(fleet) - 1
    assert _last_fence() < before + 100


def _leave_claim(instance: Instance, fence: int) -> None:
    """As another database's worker would have, as the login's own file."""
    folder = Path(instance.deploy_root) / ".release"
    owner = folder.stat()
    claim = folder / f"claim.{fence}"
    claim.mkdir()
    os.chown(claim, owner.st_uid, owner.st_gid)


def _last_fence() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM deploys_fence")
        return int(cursor.fetchone()[0])


def test_a_node_that_cannot_be_reached_fails_alone(
    deploy: Callable[..., Operation], fleet: list[Instance], service: Service, sshd: SshServer, settings: Settings
) -> None:
    settings.SSH_KEY_FILE = str(sshd.private_key)
    dead = make_node("dead", transport="ssh", ssh_user="x", ssh_port=1, ssh_host_key=sshd.host_key)
    make_instances(service, dead, 1, prefix="dead")

    operation = deploy("v1.0.0", instances=(*ids(fleet), "dead-1"))

    assert operation.status == OperationStatus.FAILED
    assert (operation.completed, operation.failed) == (3, 1)
    target = Target.objects.get(operation=operation, instance__instance_id="dead-1")
    assert target.error_code == "node_unreachable"
    assert "dead" in target.error_message


@pytest.mark.parametrize("node", ["local"], indirect=True)
def test_where_local_nodes_are_not_allowed_nothing_runs_on_one(
    deploy: Callable[..., Operation],
    fleet: list[Instance],
    run_work_loop: Callable[[str], None],
    settings: Settings,
) -> None:
    deploy("v1.0.0")
    deploy("v1.1.0")
    settings.LOCAL_NODES = False

    refused = deploy("v1.2.0")
    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id=fleet[0].instance_id)
    )
    run_work_loop("rollbacks")

    targets = [*refused.targets.all(), *rollback.targets.all()]
    assert {(target.status, target.error_code) for target in targets} == {(TargetStatus.FAILED, "node_unsuitable")}
    assert "RELEASE_LOCAL_NODES" in targets[0].error_message
    assert not LogLine.objects.filter(operation=refused, text__contains="Trying again").exists()
    for instance in fleet:
        instance.refresh_from_db()
        assert (instance.running_version, instance.run_status) == ("v1.1.0", "running")
        assert current(instance) == "releases/v1.1.0"
        assert (Path(instance.deploy_root) / "restarts").read_text() == "v1.0.0\nv1.1.0\n"
        assert not (Path(instance.deploy_root) / "releases" / "v1.2.0").exists()
