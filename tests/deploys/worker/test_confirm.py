"""Deploys that go back unless they are confirmed: real nodes; the work loop runs in this process, and not while they wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection
from pytest_django import Settings

from deploys.host.reaper import reap
from deploys.models import Lease, LogLine, Operation, Target
from deploys.operations.cancel import cancel_operation
from deploys.operations.confirm import confirm_deploy
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, OperationStatus
from inventory.errors import Conflict, InvalidRequest
from inventory.instances.sync import sync_service
from inventory.models import Instance, Node, StatusChange
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.lab import RESTART, check_invariants, wait_until
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

Deploy = Callable[..., Operation]
RunWorkLoop = Callable[[str], None]


@pytest.fixture
def fleet(package_host: PackageHost, settings: Settings, tmp_path: Path) -> list[Instance]:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service(restart_command=RESTART, command_timeout=20, keep_releases=2)
    return make_instances(service, make_node("local-1"), 2, root=tmp_path)


@pytest.fixture
def deploy(package_host: PackageHost, fleet: list[Instance], run_work_loop: RunWorkLoop) -> Deploy:
    def run(version: str, within: int = 0, **changes: Any) -> Operation:
        files = {"app.py": f"print('{version}')\n" * 200, "data/blob": version * 1000, **changes.pop("files", {})}
        values: dict[str, Any] = {
            "service": "user-service",
            "version": version,
            "instances": ids(fleet),
            "package_url": package_host.add(f"{version}.tar.gz", package(files)),
            "confirm_within": within,
            **changes,
        }
        operation = start_deploy(access=SCHEDULER, request=DeployRequest(**values))
        run_work_loop("deploys")
        operation.refresh_from_db()
        return operation

    return run


def targets(operation: Operation) -> list[Target]:
    return list(operation.targets.filter(is_latest=True).order_by("instance__natural_key"))


def currents(fleet: list[Instance]) -> set[str]:
    return {os.readlink(f"{instance.deploy_root}/current").removeprefix("releases/") for instance in fleet}


def restarts(instance: Instance) -> list[str]:
    return Path(instance.deploy_root, "restarts.txt").read_text().split()


def runs(fleet: list[Instance]) -> set[tuple[str, str, str, tuple[str, ...]]]:
    for instance in fleet:
        instance.refresh_from_db()
    return {
        (instance.running_version, instance.expected_version, instance.run_status, tuple(instance.release_history))
        for instance in fleet
    }


def waiters(fleet: list[Instance]) -> list[psutil.Process]:
    found = []
    for instance in fleet:
        for state in Path(instance.deploy_root, ".release").glob("*/state"):
            owner = [line.split() for line in state.read_text().splitlines() if line.startswith("owner")][-1]
            if owner[1] != "done" and psutil.pid_exists(int(owner[1])):
                found.append(psutil.Process(int(owner[1])))
    return found


def log_of(operation: Operation) -> str:
    return "\n".join(LogLine.objects.filter(operation=operation).order_by("seq").values_list("text", flat=True))


def when_due(operation: Operation) -> None:
    """Waits until a worker would come."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM max(ask_at) - clock_timestamp()) FROM deploys_target WHERE operation_id = %s",
            [operation.pk],
        )
        time.sleep(max(0.0, float(cursor.fetchone()[0] or 0)) + 0.05)


def test_it_waits_without_a_worker_and_is_no_success(deploy: Deploy, fleet: list[Instance]) -> None:
    deploy("v1")
    operation = deploy("v2", 60)
    assert operation.finished_at is None and not Lease.objects.exists()
    assert {(target.status, target.step, target.lease_id) for target in targets(operation)} == {
        ("in_progress", "confirm", None)
    }
    # What runs is told; that it ran successfully is not.
    assert runs(fleet) == {("v2", "v2", "running", ("v1",))}
    assert len(waiters(fleet)) == 2
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
    for waiter in waiters(fleet):
        waiter.kill()


def test_confirmed_it_is_a_deploy_like_any_other(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    for version in ("v0", "v1"):
        deploy(version)
    operation = deploy("v2", 60)
    assert confirm_deploy(access=SCHEDULER, public_id=operation.public_id) == list(ids(fleet))
    assert confirm_deploy(access=SCHEDULER, public_id=operation.public_id) == list(ids(fleet))
    run_work_loop("deploys")
    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED
    assert {(target.step, target.error_code, target.reverted) for target in targets(operation)} == {("done", "", None)}
    assert runs(fleet) == {("v2", "v2", "running", ("v0", "v1", "v2"))}
    assert currents(fleet) == {"v2"} and restarts(fleet[0]) == ["v0", "v1", "v2"]
    assert set(os.listdir(f"{fleet[0].deploy_root}/releases")) == {"v1", "v2"}
    assert confirm_deploy(access=SCHEDULER, public_id=operation.public_id) == list(ids(fleet))
    # The time that each step took outlives the wait.
    assert {"stage", "restart", "confirm"} <= targets(operation)[0].step_seconds.keys()
    check_invariants(fleet)


def test_unconfirmed_it_fails_and_the_old_version_is_what_runs(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    deploy("v1")
    digest = fleet[0].running_sha256 or Instance.objects.get(pk=fleet[0].pk).running_sha256
    operation = deploy("v2", 1)
    when_due(operation)
    run_work_loop("deploys")
    operation.refresh_from_db()
    assert operation.status == OperationStatus.FAILED
    assert {(each.status, each.error_code, each.step, each.reverted) for each in targets(operation)} == {
        ("failed", "not_confirmed", "confirm", True)
    }
    assert "'v2' was not confirmed within 1 s on node 'local-1'" in targets(operation)[0].error_message
    assert runs(fleet) == {("v1", "v1", "running", ("v1",))}
    assert fleet[0].running_sha256 == digest
    assert currents(fleet) == {"v1"} and restarts(fleet[0]) == ["v1", "v2", "v1"]
    with pytest.raises(Conflict) as late:
        confirm_deploy(access=SCHEDULER, public_id=operation.public_id)
    assert [(each.code, each.facts["instance_id"]) for each in late.value.problems] == [
        ("already_reverted", instance.instance_id) for instance in fleet
    ]
    check_invariants(fleet)
    # And may be tried again.
    retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
    run_work_loop("deploys")
    assert len(confirm_deploy(access=SCHEDULER, public_id=operation.public_id)) == 2
    run_work_loop("deploys")
    assert runs(fleet) == {("v2", "v2", "running", ("v1", "v2"))}


def test_the_reaper_wakes_a_worker_when_the_time_is_over(deploy: Deploy, fleet: list[Instance]) -> None:
    deploy("v1")
    operation = deploy("v2", 3)
    from django_q.models import OrmQ

    OrmQ.objects.all().delete()
    reap()
    assert not OrmQ.objects.exists()
    when_due(operation)
    reap()
    assert OrmQ.objects.exists()


def test_only_what_is_confirmed_stays(deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop) -> None:
    deploy("v1")
    operation = deploy("v2", 3)
    first = fleet[0].instance_id
    assert confirm_deploy(access=SCHEDULER, public_id=operation.public_id, instances=[first]) == [first]
    run_work_loop("deploys")
    when_due(operation)
    run_work_loop("deploys")
    assert [(each.status, each.error_code) for each in targets(operation)] == [
        ("completed", ""),
        ("failed", "not_confirmed"),
    ]
    # Named, what is late is an error; without names what was confirmed is no less so.
    assert confirm_deploy(access=SCHEDULER, public_id=operation.public_id) == [first]
    with pytest.raises(Conflict) as late:
        confirm_deploy(access=SCHEDULER, public_id=operation.public_id, instances=ids(fleet))
    assert [problem.code for problem in late.value.problems] == ["already_reverted"]
    check_invariants(fleet)


def test_what_does_not_wait_can_not_be_confirmed(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    plain = deploy("v1")
    for instances in (None, ids(fleet)):
        with pytest.raises(Conflict) as refused:
            confirm_deploy(access=SCHEDULER, public_id=plain.public_id, instances=instances)
        assert {problem.code for problem in refused.value.problems} == {"not_waiting"}
    with pytest.raises(InvalidRequest) as unknown:
        confirm_deploy(access=SCHEDULER, public_id=plain.public_id, instances=["instance-1", "nobody", "else"])
    assert [problem.facts["instance_id"] for problem in unknown.value.problems] == ["nobody", "else"]


def test_with_nothing_to_go_back_to_it_is_refused_before_anything_changes(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    deploy("v1", instances=ids(fleet[:1]))
    before = Operation.objects.count()
    with pytest.raises(InvalidRequest) as refused:
        deploy("v1", 60, deploy_id="again")
    assert [(each.code, each.facts["instance_id"]) for each in refused.value.problems] == [
        ("nothing_to_revert_to", instance.instance_id) for instance in fleet
    ]
    assert Operation.objects.count() == before


def test_it_is_part_of_what_was_asked_for(deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop) -> None:
    deploy("v1")
    first = deploy("v2", 60, deploy_id="one")
    assert deploy("v2", 60, deploy_id="one") == first
    with pytest.raises(Conflict, match="another request"):
        deploy("v2", 61, deploy_id="one")
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="one")
    run_work_loop("deploys")


def test_cancelled_it_goes_back_now(deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop) -> None:
    deploy("v1")
    operation = deploy("v2", 600)
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
    with pytest.raises(Conflict) as refused:
        confirm_deploy(access=SCHEDULER, public_id=operation.public_id)
    assert refused.value.code == "not_waiting"
    run_work_loop("deploys")
    assert {(each.status, each.error_code, each.reverted) for each in targets(operation)} == {
        ("cancelled", "cancelled_in_switch", True)
    }
    assert runs(fleet) == {("v1", "v1", "running", ("v1",))} and currents(fleet) == {"v1"}
    assert waiters(fleet) == []
    check_invariants(fleet)


def test_a_rollback_preempts_it_without_waiting(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    deploy("v1")
    operation = deploy("v2", 600)
    rollback = start_instance_rollback(
        access=SCHEDULER, request=InstanceRollbackRequest(instance_id=fleet[0].instance_id)
    )
    assert rollback.version == "v1"
    assert [each.status for each in targets(operation)] == ["superseded", "in_progress"]
    run_work_loop("rollbacks")
    rollback.refresh_from_db()
    assert rollback.status == OperationStatus.COMPLETED
    assert restarts(fleet[0]) == ["v1", "v2", "v1"]
    assert len(waiters(fleet)) == 1
    confirm_deploy(access=SCHEDULER, public_id=operation.public_id)
    run_work_loop("deploys")
    operation.refresh_from_db()
    assert operation.status == OperationStatus.CANCELLED
    assert runs(fleet) == {("v1", "v1", "running", ("v1",)), ("v2", "v2", "running", ("v1", "v2"))}
    check_invariants(fleet)


def test_a_failed_restart_is_what_it_always_was(deploy: Deploy, fleet: list[Instance]) -> None:
    deploy("v1")
    operation = deploy("v2", 60, files={"broken": "yes"})
    assert {(each.status, each.error_code, each.reverted) for each in targets(operation)} == {
        ("failed", "command_failed", True)
    }


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_a_node_that_was_started_anew_is_gone_back_from_at_the_next_sync(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop, is_confirmed: bool
) -> None:
    deploy("v1")
    operation = deploy("v2", 600)
    reboot(fleet)
    run_work_loop("deploys")
    assert currents(fleet) == {"v2"}
    if is_confirmed:
        confirm_deploy(access=SCHEDULER, public_id=operation.public_id)
    else:
        sync_service(operation.service_id)
    run_work_loop("deploys")
    assert {(each.error_code, each.reverted) for each in targets(operation)} == {("not_confirmed", True)}
    assert runs(fleet) == {("v1", "v1", "running", ("v1",))} and currents(fleet) == {"v1"}
    check_invariants(fleet)


def test_a_sync_of_one_that_waits_lets_it_wait_on(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    deploy("v1")
    operation = deploy("v2", 600)
    until = targets(operation)[0].confirm_by
    assert until is not None
    sync_service(operation.service_id)
    run_work_loop("deploys")
    target = targets(operation)[0]
    assert (target.status, target.step, target.claims) == ("in_progress", "confirm", 0)
    assert target.confirm_by is not None and abs((target.confirm_by - until).total_seconds()) < 2
    confirm_deploy(access=SCHEDULER, public_id=operation.public_id)
    run_work_loop("deploys")
    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED
    check_invariants(fleet)


def test_a_worker_that_died_before_it_let_go_is_followed_by_one_that_lets_go(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    deploy("v1")
    operation = deploy("v2", 600)
    dead = {"step": "restart", "confirm_by": None, "ask_at": None, "claims": 1}
    operation.targets.update(**dead)
    run_work_loop("deploys")
    for target in targets(operation):
        assert (target.status, target.step, target.lease_id) == ("in_progress", "confirm", None)
        assert target.confirm_by is not None and target.confirm_by > target.updated_at
    assert restarts(fleet[0]) == ["v1", "v2"] and len(waiters(fleet)) == 2
    confirm_deploy(access=SCHEDULER, public_id=operation.public_id)
    run_work_loop("deploys")
    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED
    check_invariants(fleet)


def test_what_a_restored_database_does_not_know_is_gone_back_from_by_the_next_claim(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    deploy("v1")
    operation = deploy("v2", 600)
    reboot(fleet)
    LogLine.objects.filter(operation=operation).delete()
    operation.targets.all().delete()
    StatusChange.objects.filter(operation_id=operation.pk).delete()
    operation.delete()
    Instance.objects.update(running_version="v1", running_release="v1", expected_version="v1")
    later = deploy("v3", files={"broken": "yes"})
    assert {(each.error_code, each.reverted) for each in targets(later)} == {("command_failed", True)}
    assert currents(fleet) == {"v1"}
    assert "was never confirmed: going back to 'v1' first" in log_of(later)
    assert restarts(fleet[0]) == ["v1", "v2", "v1", "v3", "v1"]


def test_a_node_out_of_reach_is_asked_until_it_answers(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop, settings: Settings
) -> None:
    deploy("v1")
    operation = deploy("v2", 2)
    Node.objects.update(transport="ssh", host="127.0.0.1", ssh_port=9, ssh_host_key="ssh-ed25519 " + "A" * 68)
    when_due(operation)
    run_work_loop("deploys")
    target = targets(operation)[0]
    assert (target.status, target.step, target.lease_id, target.claims) == ("in_progress", "confirm", None, 0)
    Node.objects.update(transport="local")
    when_due(operation)
    run_work_loop("deploys")
    assert {(each.error_code, each.reverted) for each in targets(operation)} == {("not_confirmed", True)}
    check_invariants(fleet)


def test_a_node_that_never_answers_again_is_given_up(
    deploy: Deploy, fleet: list[Instance], run_work_loop: RunWorkLoop
) -> None:
    deploy("v1")
    operation = deploy("v2", 1)
    Node.objects.update(transport="ssh", host="127.0.0.1", ssh_port=9, ssh_host_key="ssh-ed25519 " + "A" * 68)
    when_due(operation)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deploys_target SET confirm_by = confirm_by - interval '11 minutes' WHERE operation_id = %s",
            [operation.pk],
        )
    run_work_loop("deploys")
    assert {(each.status, each.error_code, each.reverted) for each in targets(operation)} == {
        ("failed", "not_confirmed", None)
    }
    assert "By its own clock the node has gone back" in targets(operation)[0].error_message
    assert {status for _, _, status, _ in runs(fleet)} == {"unknown"}


def reboot(fleet: list[Instance]) -> None:
    """Their programs are gone, and the records are of another boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for waiter in waiters(fleet):
        waiter.kill()
    for instance in fleet:
        for state in Path(instance.deploy_root, ".release").glob("*/state"):
            state.write_text(state.read_text().replace(boot, "00000000-0000-4000-8000-000000000000"))
    wait_until(lambda: not waiters(fleet), what="end of the programs", seconds=5)
