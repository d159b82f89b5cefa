"""Which claims wait for PostgreSQL's disk: all whose node is asked for something before another commit has waited for it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deploys.models import Package, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind
from deploys.worker.claims import claim
from deploys.worker.leases import create_lease
from inventory.models import Instance
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service


@pytest.fixture
def instances(db: None) -> list[Instance]:
    service = make_service()
    Package.objects.create(service=service, version="v1", release="v1", sha256="a" * 64, size_bytes=1, url="http://p/1")
    return make_instances(service, make_node(), 2)


def waits_for_disk(kind: Kind) -> bool:
    with CaptureQueriesContext(connection) as queries:
        assert claim(kind=kind, lease_id=create_lease("worker-1", "any").pk, max_nodes=9)
    return not any("SET LOCAL synchronous_commit = off" in query["sql"] for query in queries)


def roll_back(instance: Instance, version: str, url: str = "") -> None:
    request = InstanceRollbackRequest(instance_id=instance.instance_id, target_version=version, package_url=url)
    start_instance_rollback(access=SCHEDULER, request=request)


def test_a_deploys_claim_does(instances: list[Instance]) -> None:
    request = DeployRequest(
        service="user-service", version="v2", instances=("instance-1",), package_url="http://p/2", deploy_id="d"
    )
    start_deploy(access=SCHEDULER, request=request)
    assert waits_for_disk(Kind.DEPLOY)


def test_a_rollbacks_goes_with_its_permission(instances: list[Instance]) -> None:
    roll_back(instances[0], "v1")
    assert not waits_for_disk(Kind.ROLLBACK)


def test_a_rollbacks_does_when_its_package_is_to_be_fetched(instances: list[Instance]) -> None:
    roll_back(instances[0], "v1")
    roll_back(instances[1], "v0", "http://p/0")
    assert waits_for_disk(Kind.ROLLBACK)


def test_a_rollbacks_does_when_another_worker_has_begun_it(instances: list[Instance]) -> None:
    roll_back(instances[0], "v1")
    waits_for_disk(Kind.ROLLBACK)
    Target.objects.update(lease=None)
    assert waits_for_disk(Kind.ROLLBACK)
