"""The design document's requests, to the letter, on real nodes: local ones, and over SSH."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db(transaction=True)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
RunWorkLoop = Callable[[str], None]


@pytest.fixture(params=["local", "ssh"])
def fleet(
    request: pytest.FixtureRequest, settings: Settings, package_host: PackageHost, tmp_path: Path
) -> list[Instance]:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service(restart_command="true")
    if request.param == "local":
        return make_instances(service, make_node(), root=tmp_path)
    sshd: SshServer = request.getfixturevalue("sshd")
    settings.SSH_KEY_FILE = str(sshd.private_key)
    return make_instances(service, make_node(**sshd.node_fields), root=sshd.node_root())


@pytest.fixture
def client(db: None) -> APIClient:
    return caller()


def serve(package_host: PackageHost, version: str) -> str:
    return package_host.add(f"{version}.tar.gz", package({"app.py": f"print('{version}')\n"}))


def execute(client: APIClient, package_host: PackageHost, version: str, deploy_id: str) -> Any:
    return client.post(
        "/v1/deploy/execute",
        {
            "service": "user-service",
            "version": version,
            "instances": ["instance-1", "instance-2", "instance-3"],
            "package_url": serve(package_host, version),
            "deploy_id": deploy_id,
        },
        format="json",
    )


def test_a_deploy_its_status_and_the_versions(
    fleet: list[Instance], client: APIClient, package_host: PackageHost, run_work_loop: RunWorkLoop
) -> None:
    answer = execute(client, package_host, "v1.2.3", "deploy-12345")

    started = answer.json()
    assert answer.status_code == 202
    assert TIME.fullmatch(started.pop("started_at"))
    assert started == {
        "deploy_id": "deploy-12345",
        "status": "started",
        "message": "deployment started successfully",
    }

    waiting = client.get("/v1/deploy/status/deploy-12345").json()
    assert waiting["status"] == "pending"
    assert {key: waiting["progress"][key] for key in ("total", "completed", "failed", "pending")} == {
        "total": 3,
        "completed": 0,
        "failed": 0,
        "pending": 3,
    }

    run_work_loop("deploys")
    status = client.get("/v1/deploy/status/deploy-12345").json()
    assert (status["deploy_id"], status["service"], status["version"]) == ("deploy-12345", "user-service", "v1.2.3")
    assert status["status"] == "completed"
    assert status["progress"]["completed"] == 3
    assert TIME.fullmatch(status["started_at"])
    assert TIME.fullmatch(status["updated_at"])
    for number, instance in enumerate(status["instances"], start=1):
        assert instance["instance_id"] == f"instance-{number}"
        assert (instance["status"], instance["version"]) == ("completed", "v1.2.3")
        assert TIME.fullmatch(instance["updated_at"])

    versions = client.get("/v1/service/user-service/instances/versions").json()
    assert versions["service"] == "user-service"
    assert versions["version_summary"] == {"v1.2.3": 3}
    assert [set(instance) for instance in versions["instances"]] == [
        {"instance_id", "version", "status", "last_updated", "expected_version", "process_version", "drift"}
    ] * 3
    assert {instance["status"] for instance in versions["instances"]} == {"running"}

    listed = client.get("/v1/service/user-service/instances").json()
    assert (listed["service"], listed["total"]) == ("user-service", 3)
    assert listed["instances"][0] == {
        "instance_id": "instance-1",
        "host": "127.0.0.1",
        "port": 8001,
        "status": "unknown",
        "version": "v1.2.3",
        "expected_version": "v1.2.3",
        "process_version": None,
        "drift": None,
    }


def test_the_three_rollback_calls(
    fleet: list[Instance], client: APIClient, package_host: PackageHost, run_work_loop: RunWorkLoop
) -> None:
    for version in ("v1.2.2", "v1.2.3"):
        execute(client, package_host, version, f"deploy-{version}")
        run_work_loop("deploys")

    single = client.post(
        "/v1/rollback/instance",
        {
            "instance_id": "instance-1",
            "target_version": "v1.2.2",
            "package_url": package_host.url("v1.2.2.tar.gz"),
        },
        format="json",
    )
    answer = single.json()
    assert single.status_code == 202
    rollback_id = answer["rollback_id"]
    assert {key: answer[key] for key in ("instance_id", "target_version", "status", "message")} == {
        "instance_id": "instance-1",
        "target_version": "v1.2.2",
        "status": "started",
        "message": "rollback started successfully",
    }
    run_work_loop("rollbacks")

    status = client.get(f"/v1/rollback/status/{rollback_id}").json()
    assert {key: status[key] for key in ("rollback_id", "service", "target_version", "status")} == {
        "rollback_id": rollback_id,
        "service": "user-service",
        "target_version": "v1.2.2",
        "status": "completed",
    }
    assert TIME.fullmatch(status["started_at"])
    assert TIME.fullmatch(status["completed_at"])
    (instance,) = status["instances"]
    assert {key: instance[key] for key in ("instance_id", "status", "version")} == {
        "instance_id": "instance-1",
        "status": "completed",
        "version": "v1.2.2",
    }

    batch = client.post(
        "/v1/rollback/batch",
        {
            "service": "user-service",
            "target_version": "v1.2.2",
            "package_url": package_host.url("v1.2.2.tar.gz"),
            "instances": ["instance-1", "instance-2"],
        },
        format="json",
    )
    answer = batch.json()
    assert batch.status_code == 202
    assert {key: answer[key] for key in ("service", "target_version", "status", "instances", "message")} == {
        "service": "user-service",
        "target_version": "v1.2.2",
        "status": "started",
        "instances": ["instance-1", "instance-2"],
        "message": "batch rollback started successfully",
    }
    run_work_loop("rollbacks")
    versions = client.get("/v1/service/user-service/instances/versions").json()
    assert versions["version_summary"] == {"v1.2.2": 2, "v1.2.3": 1}


def test_with_the_package_host_gone_a_rollback_completes_and_nobody_tries_to_reach_it(
    fleet: list[Instance], client: APIClient, package_host: PackageHost, run_work_loop: RunWorkLoop
) -> None:
    for version in ("v1.2.2", "v1.2.3"):
        execute(client, package_host, version, f"deploy-{version}")
        run_work_loop("deploys")
    port = package_host.port
    package_host.stop()

    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.setblocking(False)
        answer = client.post(
            "/v1/rollback/batch", {"service": "user-service", "target_version": "v1.2.2"}, format="json"
        ).json()
        run_work_loop("rollbacks")

        with pytest.raises(BlockingIOError):
            listening.accept()

    status = client.get(f"/v1/rollback/status/{answer['rollback_id']}").json()
    assert status["status"] == "completed"
    assert {instance["source"] for instance in status["instances"]} == {"node"}
    assert {instance["version"] for instance in status["instances"]} == {"v1.2.2"}
