"""Columns that the code has left stand still for the workers and web of the release before, which run beside it."""

from __future__ import annotations

import pytest
from django.db import connection

from deploys.models import Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from inventory.models import Instance
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

# As `deploys/operations/create.py` had it.
OLD_INSERT = """
INSERT INTO deploys_target (operation_id, instance_id, kind, attempt, is_latest, status, step, step_seconds,
    error_code, error_message, source, previous_version, version_after, stop_reason, claims)
SELECT %s, i.id, %s, %s, true, 'pending', 'queued', '{}', '', '', '', i.running_version, '', '', 0
FROM inventory_instance i WHERE i.id = ANY(%s) ORDER BY i.natural_key
"""


@pytest.fixture
def operation(db: None) -> Operation:
    fleet: list[Instance] = make_instances(make_service(), make_node(), 2)
    request = DeployRequest(service="user-service", version="v1", instances=ids(fleet), package_url="http://p/x")
    return start_deploy(access=SCHEDULER, request=request)


def test_old_code_still_writes_and_reads_version_after(operation: Operation) -> None:
    instances = list(operation.targets.values_list("instance_id", flat=True))
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT version_after FROM deploys_target")
        assert cursor.fetchall() == [("",)]
        Target.objects.all().delete()

        cursor.execute(OLD_INSERT, [operation.pk, "deploy", 1, instances])

    assert operation.targets.count() == 2


def test_the_model_knows_it_no_more() -> None:
    assert "version_after" not in {field.name for field in Target._meta.get_fields()}
