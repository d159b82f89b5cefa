"""Web and workers of the release before run beside this one: columns they need stand, and they get nothing they don't know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from deploys.host import presence
from deploys.models import Operation, Target, Worker
from deploys.operations.cancel import cancel_operation
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, Until
from inventory.errors import Conflict
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


def ask(instances: list[Instance], **asked: Any) -> Operation:
    wanted: Any = {"service": "user-service", "version": "v1", "instances": ids(instances), "package_url": "http://p/x"}
    return start_deploy(access=SCHEDULER, request=DeployRequest(**(wanted | asked)))


ASKED: list[tuple[dict[str, object], str]] = [
    ({"until": Until.CHECKED}, "until"),
    ({"until": Until.STAGED}, "until"),
    ({"confirm_within": 60}, "confirm_within"),
]


# A worker before 0.2.0 would switch for good what is only to be staged, or confirmed.
@pytest.mark.parametrize(("asked", "attr"), ASKED)
def test_what_an_old_worker_would_not_do_is_refused_while_one_is_there(
    db: None, asked: dict[str, object], attr: str
) -> None:
    fleet = make_instances(make_service(), make_node(), 1)
    Instance.objects.update(found_current="releases/v0")
    old = Worker.objects.create(name="w-1", host="host-1", pid=1)

    with pytest.raises(Conflict) as refused:
        ask(fleet, **asked)

    (problem,) = refused.value.problems
    assert (problem.code, problem.attr) == ("workers_outdated", attr)
    assert "host-1" in problem.detail
    assert not Operation.objects.exists()
    old.delete()
    assert ask(fleet, **asked).total == 1


def test_it_is_refused_for_a_retry_too_and_a_plain_deploy_never_is(db: None) -> None:
    fleet = make_instances(make_service(), make_node(), 2)
    staged = ask(fleet[:1], until=Until.STAGED)
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=staged.public_id)
    Worker.objects.create(name="w-1", host="host-1", pid=1)

    with pytest.raises(Conflict) as refused:
        retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=staged.public_id)

    assert [problem.code for problem in refused.value.problems] == ["workers_outdated"]
    assert ask(fleet[1:]).total == 1


def test_an_old_worker_that_was_killed_is_waited_for_no_longer_than_a_minute(db: None) -> None:
    fleet = make_instances(make_service(), make_node(), 1)
    Worker.objects.create(name="w-1", host="host-1", pid=1)
    Worker.objects.update(seen_at=Now() - timedelta(seconds=61))
    assert ask(fleet, until=Until.STAGED).total == 1


def test_a_worker_of_this_version_says_so(db: None) -> None:
    presence.beat("w-1")
    presence.beat("w-1")
    assert Worker.objects.get().version == settings.VERSION
    assert ask(make_instances(make_service(), make_node(), 1), until=Until.STAGED).total == 1


def test_there_is_no_way_back_to_old_workers_while_they_would_switch_what_waits(db: None) -> None:
    staged = ask(make_instances(make_service(), make_node(), 1), until=Until.STAGED)
    with pytest.raises(CommandError, match=staged.public_id):
        call_command("can_go_back", "0.1.0")
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=staged.public_id)
    call_command("can_go_back", "0.1.0")
