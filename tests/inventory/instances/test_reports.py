"""What an instance reports of itself is kept, and never overwrites an operation's result."""

from __future__ import annotations

import pytest

from deploys.models import Operation, Target
from deploys.states import Kind, TargetStatus
from inventory.actors import Actor, ActorKind
from inventory.errors import NotFound
from inventory.instances.reports import record_report
from inventory.models import Instance, StatusChange
from inventory.security.access import Access, Scope
from tests.support.fleet import make_instances, make_node, make_service

pytestmark = pytest.mark.django_db

REPORTER = Access(actor=Actor(kind=ActorKind.TOKEN, name="cron"), scopes=frozenset({Scope.REPORT}), services=None)


@pytest.fixture
def instance() -> Instance:
    [made] = make_instances(make_service(), make_node(), 1)
    Instance.objects.update(
        running_version="v1", running_release="v1", running_sha256="a" * 64, expected_version="v1", run_status="running"
    )
    return Instance.objects.get(pk=made.pk)


def report(**words: str) -> Instance:
    return record_report(access=REPORTER, instance_id="instance-1", report=words)


def changes() -> list[tuple[str, str, str]]:
    return list(StatusChange.objects.order_by("pk").values_list("field", "old", "new"))


def work_on(instance: Instance) -> Target:
    operation = Operation.objects.create(
        kind=Kind.DEPLOY,
        public_id="deploy-1",
        service=instance.service,
        version="v2",
        total=1,
        fingerprint="x",
        requested_by="ann",
        requested_by_kind=ActorKind.PERSON,
    )
    return Target.objects.create(
        operation=operation, instance=instance, kind=Kind.DEPLOY, status=TargetStatus.IN_PROGRESS
    )


def test_each_change_leaves_a_row(instance: Instance) -> None:
    told = report(version="v2", status="stopped", health="unhealthy")

    assert (told.running_version, told.run_status, told.health) == ("v2", "stopped", "unhealthy")
    assert told.health_at is not None
    assert changes() == [
        ("version", "v1", "v2"),
        ("run_status", "running", "stopped"),
        ("health", "unknown", "unhealthy"),
    ]
    assert set(StatusChange.objects.values_list("actor_name", "note")) == {("cron", "reported")}


def test_another_version_than_expected_is_drift(instance: Instance) -> None:
    told = report(version="v2")

    assert told.drift == "link"
    assert (told.expected_version, told.running_release, told.running_sha256) == ("v1", "v2", "")


def test_saying_the_same_again_changes_nothing_but_when(instance: Instance) -> None:
    report(version="v1", status="running", health="healthy")
    before = Instance.objects.get()

    told = report(version="v1", status="running", health="healthy")

    assert told.changed_at == before.changed_at
    assert told.running_sha256 == "a" * 64
    assert len(changes()) == 1


def test_what_is_not_said_stays(instance: Instance) -> None:
    told = report(health="healthy")

    assert (told.running_version, told.run_status) == ("v1", "running")


def test_a_report_while_it_is_switched_is_kept_but_does_not_count(instance: Instance) -> None:
    work_on(instance)

    told = report(version="v2", status="stopped", health="unhealthy")

    assert (told.running_version, told.run_status) == ("v1", "running")
    assert (told.reported_version, told.reported_status) == ("v2", "stopped")
    assert told.health == "unhealthy"
    assert changes() == [("health", "unknown", "unhealthy")]


def test_an_unknown_instance_is_not_found() -> None:
    with pytest.raises(NotFound):
        report(health="healthy")


def test_another_ones_instance_is_not_found(instance: Instance) -> None:
    stranger = Access(actor=REPORTER.actor, scopes=REPORTER.scopes, services=frozenset())

    with pytest.raises(NotFound):
        record_report(access=stranger, instance_id="instance-1", report={"health": "healthy"})
