"""One worker process drives many nodes and instances at once: a slow restart does not add up."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_hundred_restarts_of_two_seconds_take_well_under_twenty(
    tmp_path: Path, package_host: PackageHost, settings: Settings, run_work_loop: Callable[[str], None]
) -> None:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service(restart_command="sleep 2")
    fleet = [
        instance
        for number in range(20)
        for instance in make_instances(
            service, make_node(f"node-{number}"), 5, root=tmp_path, prefix=f"node-{number}-instance"
        )
    ]
    url = package_host.add("v1.tar.gz", package({"app.py": "print('v1')\n"}))
    operation = start_deploy(
        access=SCHEDULER,
        request=DeployRequest(service="user-service", version="v1", instances=ids(fleet), package_url=url),
    )

    began = time.monotonic()
    run_work_loop("deploys")
    seconds = time.monotonic() - began

    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED
    assert operation.completed == 100
    assert seconds < 20, f"{seconds:.1f} s"
    assert len(package_host.requests_for("v1.tar.gz")) == 1
