"""The SQL that docs/scaling.md advises for old rows does what it says, and no more."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from deploys.models import LogLine, Operation, Package, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, Step, TargetStatus
from inventory.models import AuditEntry, Instance, StatusChange
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

pytestmark = pytest.mark.django_db


def finished(fleet: list[Instance], version: str, *, days_ago: int) -> Operation:
    request = DeployRequest(service="user-service", version=version, instances=ids(fleet), package_url="http://p/x.tgz")
    operation = start_deploy(access=SCHEDULER, request=request)
    ended = Now() - timedelta(days=days_ago)
    package = Package.objects.create(
        service=operation.service, version=version, release=version, sha256=version[-1] * 64, size_bytes=1, url="u"
    )
    operation.targets.update(status=TargetStatus.COMPLETED, step=Step.DONE, finished_at=ended)
    Operation.objects.filter(pk=operation.pk).update(
        status=OperationStatus.COMPLETED, completed=len(fleet), finished_at=ended, package=package
    )
    for instance in fleet:
        LogLine.objects.create(operation=operation, instance=instance, seq=instance.pk, at=ended, text="x")
        StatusChange.objects.create(
            instance=instance, field="version", new=version, at=ended, operation_id=operation.pk,
            actor_kind="token", actor_name="scheduler",
        )  # fmt: skip
    return operation


def advised(heading: str) -> str:
    text = (Path(settings.BASE_DIR) / "docs" / "scaling.md").read_text()
    found = re.search(rf"{re.escape(heading)}.*?```sql\n(.*?)```", text, re.DOTALL)
    assert found, heading
    return found[1]


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        for statement in sql.replace("BEGIN;", "").replace("COMMIT;", "").split(";"):
            if statement.strip():
                cursor.execute(statement)


def test_old_logs_go_and_the_rest_stays() -> None:
    fleet = make_instances(make_service(), make_node())
    old, young = finished(fleet, "v1", days_ago=100), finished(fleet, "v2", days_ago=10)

    run(advised("**Logs**"))

    assert set(LogLine.objects.values_list("operation", flat=True)) == {young.pk}
    assert set(Operation.objects.values_list("pk", flat=True)) == {old.pk, young.pk}


def test_old_operations_go_whole_and_packages_audit_and_unfinished_ones_stay() -> None:
    fleet = make_instances(make_service(), make_node())
    old, young = finished(fleet, "v1", days_ago=800), finished(fleet, "v2", days_ago=300)
    Operation.objects.filter(pk=young.pk).update(undoes=old)
    request = DeployRequest(service="user-service", version="v3", instances=ids(fleet), package_url="http://p/x.tgz")
    waiting = start_deploy(access=SCHEDULER, request=request)
    Operation.objects.filter(pk=waiting.pk).update(started_at=Now() - timedelta(days=900))
    entries = AuditEntry.objects.count()

    run(advised("**Operations**"))

    assert set(Operation.objects.values_list("pk", flat=True)) == {young.pk, waiting.pk}
    assert set(Target.objects.values_list("operation", flat=True)) == {young.pk, waiting.pk}
    assert set(LogLine.objects.values_list("operation", flat=True)) == {young.pk}
    assert set(StatusChange.objects.filter(field="version").values_list("operation_id", flat=True)) == {young.pk}
    assert Package.objects.count() == 2
    assert AuditEntry.objects.count() == entries
