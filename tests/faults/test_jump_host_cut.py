"""FAULTS.md 16 and 17 through a hop: the jump host goes away in mid-upload, and just after the switch went out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.states import OperationStatus
from inventory.models import JumpHost
from tests.faults.test_ssh_cut import (
    UPLOAD_BYTES,
    codes,
    deploy,
    deploy_large,
    is_current,
    log_of,
    restart_held,
    retried,
    working,
)
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer, ssh_server
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

RunWorkLoop = Callable[[str], None]


@pytest.fixture
def jump_server(own_sshd: SshServer) -> Iterator[SshServer]:
    with ssh_server() as server:
        key = own_sshd.private_key.with_suffix(".pub").read_text()
        (server.folder / "authorized_keys").write_text(key)
        yield server


@pytest.fixture
def hop(jump_server: SshServer) -> Iterator[TcpProxy]:
    """The wire to the jump host."""
    with tcp_proxy(jump_server.port) as proxy:
        yield proxy


@pytest.fixture
def behind(
    tmp_path: Path,
    package_host: PackageHost,
    own_sshd: SshServer,
    jump_server: SshServer,
    hop: TcpProxy,
    settings: Settings,
    run_work_loop: RunWorkLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> Lab:
    """v1 runs on two instances of a node behind a jump host."""
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.SSH_KEY_FILE = str(own_sshd.private_key)
    jump = JumpHost.objects.create(
        name="dmz",
        host=jump_server.host,
        ssh_user=jump_server.user,
        ssh_port=hop.port,
        ssh_host_key=jump_server.host_key,
    )
    fields = {**own_sshd.node_fields, "jump": jump}
    lab = Lab.build(tmp_path, package_host, count=2, root=own_sshd.node_root(), **fields)  # type: ignore[arg-type]
    monkeypatch.setenv("RELEASE_FAULT_DIR", str(lab.faults))
    deploy(lab, "v1", run_work_loop)
    assert is_current(lab, "v1") == [True, True]
    assert hop.connections == 1
    return lab


def test_an_upload_cut_once_at_the_hop_is_sent_again(behind: Lab, hop: TcpProxy, run_work_loop: RunWorkLoop) -> None:
    hop.cut_after(UPLOAD_BYTES // 2, once=True)

    operation = deploy_large(behind, run_work_loop)

    assert operation.status == OperationStatus.COMPLETED
    assert "Trying again" in log_of(operation)


def test_a_jump_host_killed_in_mid_upload_leaves_nothing_visible(
    behind: Lab, hop: TcpProxy, jump_server: SshServer, run_work_loop: RunWorkLoop
) -> None:
    hop.stall_after(UPLOAD_BYTES // 2)
    killing = threading.Thread(target=kill_when_stalled, args=(jump_server, hop))
    killing.start()

    operation = deploy_large(behind, run_work_loop)

    killing.join()
    assert codes(operation) == ["jump_unreachable"] * 2
    assert "jump host 'dmz'" in operation.targets.all()[0].error_message
    for instance in behind.instances:
        assert os.readlink(f"{instance.deploy_root}/current") == "releases/v1"
        assert os.listdir(f"{instance.deploy_root}/releases") == ["v1"]
    check_invariants(behind.instances)
    jump_server.start()
    assert retried(operation, run_work_loop).status == OperationStatus.COMPLETED


def kill_when_stalled(server: SshServer, wire: TcpProxy) -> None:
    """The upload's rest is held back until the server is gone: it can't be over before that."""
    wait_until(lambda: wire.is_stalled, what="half of the upload", seconds=30)
    server.stop()
    wire.flow()


def test_a_jump_host_killed_after_the_switch_went_out_is_resolved_by_asking_the_node(
    behind: Lab, jump_server: SshServer, run_work_loop: RunWorkLoop
) -> None:
    with restart_held(behind), working(behind, "v2", run_work_loop) as operation:
        wait_until(lambda: all(is_current(behind, "v2")), what="switch", seconds=30)
        jump_server.stop()
        jump_server.start()

    assert operation.status == OperationStatus.COMPLETED
    assert "Asking the node what became of the switch" in log_of(operation)
    for instance in behind.instances:
        assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1", "v2"]
    check_invariants(behind.instances)


def test_another_key_of_the_jump_host_ends_the_deploy_before_anything_is_sent(
    behind: Lab, jump_server: SshServer, run_work_loop: RunWorkLoop
) -> None:
    jump_server.change_host_key()

    operation = deploy(behind, "v2", run_work_loop)

    assert codes(operation) == ["jump_host_key_mismatch"] * 2
    assert "Compare the fingerprint on the jump host itself" in operation.targets.all()[0].error_message
    assert is_current(behind, "v1") == [True, True]
