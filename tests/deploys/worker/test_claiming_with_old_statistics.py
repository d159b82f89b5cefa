"""PostgreSQL plans by what it last counted: a deploy that begins right after that must not wait for the next count."""

from __future__ import annotations

import time

import pytest
from django.db import connection
from django.db.models.functions import Now

from deploys.models import Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, Step, TargetStatus
from deploys.worker.claims import claim
from deploys.worker.leases import create_lease
from inventory.models import Instance
from tests.support.fleet import SCHEDULER, ids, make_node, make_service

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(120)]

NODES = 100
INSTANCES = 1_000


def test_a_claim_is_fast_when_the_statistics_know_of_finished_targets_alone() -> None:
    service = make_service()
    nodes = [make_node(f"node-{number}") for number in range(NODES)]
    fleet = Instance.objects.bulk_create(
        Instance(
            instance_id=f"instance-{number}",
            service=service,
            node=nodes[number % NODES],
            port=8080,
            deploy_root=f"/srv/{number}",
        )
        for number in range(INSTANCES)
    )
    for version in ("v1", "v2"):
        deploy(fleet, version)
        Target.objects.update(status=TargetStatus.COMPLETED, step=Step.DONE, finished_at=Now())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SET LOCAL statement_timeout = '60s'")
    deploy(fleet, "v3")
    lease = create_lease("worker", "deploys")

    began = time.monotonic()
    claimed = claim(kind=Kind.DEPLOY, lease_id=lease.pk, max_nodes=50)
    seconds = time.monotonic() - began

    assert len(claimed) == 50
    assert seconds < 3


def deploy(fleet: list[Instance], version: str) -> None:
    request = DeployRequest(service="user-service", version=version, instances=ids(fleet), package_url="http://p/v.tgz")
    start_deploy(access=SCHEDULER, request=request)
