"""FAULTS.md 16, 17, 21: the connection to a node, or the node itself, goes away at the worst moments."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploys.models import Operation
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, OperationStatus, Step
from inventory.models import Service
from tests.support.fleet import SCHEDULER, ids
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.package_builder import package
from tests.support.sshd import SshServer
from tests.support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]
UPLOAD_BYTES = 2_000_000


@pytest.fixture
def far(far_lab: Lab, run_work_loop: RunWorkLoop, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """v1 runs on both instances."""
    monkeypatch.setenv("RELEASE_FAULT_DIR", str(far_lab.faults))
    deploy(far_lab, "v1", run_work_loop)
    return far_lab


def test_an_upload_cut_once_is_sent_again(far: Lab, proxy: TcpProxy, run_work_loop: RunWorkLoop) -> None:
    proxy.cut_after(UPLOAD_BYTES // 2, once=True)

    operation = deploy_large(far, run_work_loop)

    assert operation.status == OperationStatus.COMPLETED
    assert "Trying again" in log_of(operation)


def test_an_upload_cut_every_time_leaves_nothing_visible_and_may_be_retried(
    far: Lab, proxy: TcpProxy, run_work_loop: RunWorkLoop
) -> None:
    proxy.cut_after(UPLOAD_BYTES // 2)

    operation = deploy_large(far, run_work_loop)

    assert codes(operation) == ["node_unreachable"] * 2
    for instance in far.instances:
        assert os.readlink(f"{instance.deploy_root}/current") == "releases/v1"
        assert os.listdir(f"{instance.deploy_root}/releases") == ["v1"]
    check_invariants(far.instances)

    proxy.cut_after(None)
    assert retried(operation, run_work_loop).status == OperationStatus.COMPLETED


def test_a_cut_after_the_switch_went_out_is_resolved_by_asking_the_node(
    far: Lab, proxy: TcpProxy, run_work_loop: RunWorkLoop
) -> None:
    with restart_held(far), working(far, "v2", run_work_loop) as operation:
        wait_until(lambda: all(is_current(far, "v2")), what="switch", seconds=30)
        proxy.cut()

    assert operation.status == OperationStatus.COMPLETED
    assert "Asking the node what became of the switch" in log_of(operation)
    for instance in far.instances:
        assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1", "v2"]
    check_invariants(far.instances)


def test_a_cut_while_the_version_is_asked_for_is_resolved_by_asking_the_node(
    far: Lab, proxy: TcpProxy, run_work_loop: RunWorkLoop
) -> None:
    """One process becomes the new version behind the cut, the other stays what it was."""
    asks = 'touch "$RELEASE_ROOT/asked"; cat "$RELEASE_ROOT/says"'
    Service.objects.update(version_command=asks, version_timeout=3)
    roots = [Path(instance.deploy_root) for instance in far.instances]
    for root in roots:
        (root / "says").write_text("v1\n")
    with working(far, "v2", run_work_loop) as operation:
        wait_until(lambda: all((root / "asked").exists() for root in roots), what="version command", seconds=30)
        proxy.cut()
        (roots[1] / "says").write_text("v2\n")

    assert "Asking the node what became of the switch" in log_of(operation)
    assert codes(operation) == ["version_mismatch", ""]
    target = operation.targets.get(instance=far.instances[0])
    assert (target.step, target.reverted) == (Step.VERIFY, True)
    assert "but in the end 'v1'" in target.error_message
    assert [os.readlink(root / "current") for root in roots] == ["releases/v1", "releases/v2"]
    check_invariants(far.instances)


def test_a_node_that_dies_before_the_switch_keeps_the_old_version(
    far: Lab, own_sshd: SshServer, run_work_loop: RunWorkLoop
) -> None:
    held = far.hold("permitted")
    with working(far, "v2", run_work_loop) as operation:
        far.wait_until_held("permitted")
        own_sshd.stop()
        held.unlink()

    assert codes(operation) == ["node_unreachable"] * 2
    assert "Nothing was switched" in operation.targets.all()[0].error_message
    assert set(operation.targets.values_list("instance__run_status", flat=True)) == {"running"}
    own_sshd.start()
    check_invariants(far.instances)
    assert retried(operation, run_work_loop).status == OperationStatus.COMPLETED


def test_a_node_that_dies_right_after_the_link_moved_is_asked_again_and_finished(
    far: Lab, own_sshd: SshServer, run_work_loop: RunWorkLoop
) -> None:
    with restart_held(far), working(far, "v2", run_work_loop) as operation:
        wait_until(lambda: all(is_current(far, "v2")), what="switch", seconds=30)
        own_sshd.stop()
        own_sshd.start()

    assert operation.status == OperationStatus.COMPLETED
    check_invariants(far.instances)


def test_a_changed_host_key_ends_the_deploy_before_anything_is_sent(
    far: Lab, own_sshd: SshServer, run_work_loop: RunWorkLoop
) -> None:
    own_sshd.change_host_key()

    operation = deploy(far, "v2", run_work_loop)

    assert codes(operation) == ["node_host_key_mismatch"] * 2
    assert is_current(far, "v1") == [True, True]


def deploy(lab: Lab, version: str, run_work_loop: RunWorkLoop) -> Operation:
    operation = lab.deploy(version)
    run_work_loop("deploys")
    operation.refresh_from_db()
    return operation


def deploy_large(lab: Lab, run_work_loop: RunWorkLoop) -> Operation:
    """Random bytes, which no packing makes smaller than a cut that comes after so many of them."""
    url = lab.package_host.add("large.tar.gz", package({"blob": random.Random(1).randbytes(UPLOAD_BYTES)}))
    request = DeployRequest(service="user-service", version="large", instances=ids(lab.instances), package_url=url)
    operation = start_deploy(access=SCHEDULER, request=request)
    run_work_loop("deploys")
    operation.refresh_from_db()
    return operation


def retried(operation: Operation, run_work_loop: RunWorkLoop) -> Operation:
    retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
    run_work_loop("deploys")
    operation.refresh_from_db()
    return operation


@contextmanager
def working(lab: Lab, version: str, run_work_loop: RunWorkLoop) -> Iterator[Operation]:
    operation = lab.deploy(version)
    thread = threading.Thread(target=run_work_loop, args=("deploys",))
    thread.start()
    yield operation
    for held in (*lab.faults.glob("*.hold"), *(Path(each.deploy_root, "hold") for each in lab.instances)):
        held.unlink(missing_ok=True)
    thread.join(timeout=90)
    assert not thread.is_alive()
    operation.refresh_from_db()


@contextmanager
def restart_held(lab: Lab) -> Iterator[None]:
    holds = [Path(instance.deploy_root, "hold") for instance in lab.instances]
    for held in holds:
        held.touch()
    yield
    for held in holds:
        held.unlink(missing_ok=True)


def is_current(lab: Lab, version: str) -> list[bool]:
    return [os.readlink(f"{each.deploy_root}/current") == f"releases/{version}" for each in lab.instances]


def codes(operation: Operation) -> list[str]:
    return list(operation.targets.filter(is_latest=True).values_list("error_code", flat=True))


def log_of(operation: Operation) -> str:
    return "\n".join(operation.log_lines.values_list("text", flat=True))
