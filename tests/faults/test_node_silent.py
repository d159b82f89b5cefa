"""FAULTS.md 18: a node accepts connections and never answers. It alone pays for it, and pays once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from deploys.models import Operation
from deploys.states import TargetStatus
from inventory.nodes.transports import ssh_login
from tests.support.fleet import make_instances, make_node
from tests.support.lab import Lab, wait_until
from tests.support.sshd import SshServer
from tests.support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

LOGIN_SECONDS = 2
SILENT_INSTANCES = 6


def test_its_deadlines_fire_and_other_nodes_are_not_slowed(
    far_lab: Lab,
    proxy: TcpProxy,
    run_work_loop: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    own_sshd: SshServer,
) -> None:
    for name in ("CONNECT_SECONDS", "LOGIN_SECONDS"):
        monkeypatch.setattr(ssh_login, name, LOGIN_SECONDS)
    proxy.stall()
    service, silent_node = far_lab.instances[0].service, far_lab.instances[0].node
    silent = make_instances(service, silent_node, SILENT_INSTANCES, root=own_sshd.node_root(), prefix="silent")
    near = make_instances(service, make_node("near"), 2, root=far_lab.faults, prefix="near")
    operation = far_lab.deploy("v1", instances=[*silent, *near])
    began = time.monotonic()
    thread = threading.Thread(target=run_work_loop, args=("deploys",))
    thread.start()

    wait_until(lambda: statuses(operation, "near") == {TargetStatus.COMPLETED}, what="other node's end", seconds=20)
    assert statuses(operation, "silent") == {TargetStatus.IN_PROGRESS}, "the near node waited for the silent one"
    thread.join(timeout=60)

    assert not thread.is_alive()
    failed = operation.targets.filter(instance__instance_id__startswith="silent")
    assert set(failed.values_list("status", "error_code")) == {(TargetStatus.FAILED, "node_unreachable")}
    all_attempts = 3 * LOGIN_SECONDS + 2.5
    assert time.monotonic() - began < 2 * all_attempts, "each instance paid for itself"


def statuses(operation: Operation, prefix: str) -> set[str]:
    targets = operation.targets.filter(instance__instance_id__startswith=prefix)
    return set(targets.values_list("status", flat=True))
