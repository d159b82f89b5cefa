from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django_q.models import OrmQ
from pytest_django import Settings

from deploys import tasks
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus
from deploys.worker import event_loop, prewarm
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db(transaction=True)


def is_warm(name: str, *, within_seconds: float = 10) -> bool:
    deadline = time.monotonic() + within_seconds
    while name not in event_loop.connection_pool().warm_nodes() and time.monotonic() < deadline:
        time.sleep(0.02)
    return name in event_loop.connection_pool().warm_nodes()


def test_a_worker_that_is_told_to_logs_in_to_the_nodes(sshd: SshServer, settings: Settings) -> None:
    settings.SSH_KEY_FILE = str(sshd.private_key)
    node = make_node("warm-1", **sshd.node_fields)
    begun = time.monotonic()

    tasks.warm([node.pk])

    assert time.monotonic() - begun < 1
    assert is_warm("warm-1")


def test_a_node_that_can_not_be_reached_does_no_harm(settings: Settings, sshd: SshServer) -> None:
    settings.SSH_KEY_FILE = str(sshd.private_key)
    gone = make_node("gone-1", **{**sshd.node_fields, "ssh_port": 1})
    there = make_node("warm-2", **sshd.node_fields)

    tasks.warm([gone.pk, there.pk])

    assert is_warm("warm-2")


def test_a_deploy_that_ended_asks_the_rollbacks_workers_to_log_in_to_its_nodes(
    package_host: PackageHost, settings: Settings, run_work_loop: Callable[[str], None], sshd: SshServer
) -> None:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.SSH_KEY_FILE = str(sshd.private_key)
    node = make_node("ssh-1", **sshd.node_fields)
    instances = make_instances(make_service(), node, 1, root=sshd.node_root())
    operation = start_deploy(
        access=SCHEDULER,
        request=DeployRequest(
            service="user-service",
            version="v1",
            instances=(instances[0].instance_id,),
            package_url=package_host.add("v1.tar.gz", package({"app.py": "x"})),
        ),
    )
    run_work_loop("deploys")

    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED
    (message,) = OrmQ.objects.filter(key="rollbacks")
    assert (message.task["func"], message.task["args"]) == ("deploys.tasks.warm", ([node.pk],))


def test_only_the_newest_nodes_are_asked_for() -> None:
    prewarm.announce(range(1_000))

    (message,) = OrmQ.objects.filter(key="rollbacks")
    assert message.task["args"] == (list(range(800, 1_000)),)
