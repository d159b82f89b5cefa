"""FAULTS.md 14: a hint was lost. The reaper sends another, as long as somebody has to begin the work."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from deploys.host.reaper import reap
from deploys.models import Operation, Target
from deploys.queue.names import DEPLOYS
from deploys.states import Kind
from inventory.actors import ActorKind
from inventory.models import Instance, Node, Service, TransportKind

pytestmark = pytest.mark.django_db


@pytest.fixture
def target() -> Target:
    """Waiting for long enough that its own hint should have been heard."""
    service = Service.objects.create(name="user-service")
    node = Node.objects.create(name="web-1", host="localhost", transport=TransportKind.LOCAL)
    instance = Instance.objects.create(instance_id="i-1", service=service, node=node, port=80, deploy_root="/srv/i-1")
    operation = Operation.objects.create(
        kind=Kind.DEPLOY,
        public_id="d-1",
        service=service,
        version="v1",
        fingerprint="f",
        total=1,
        requested_by="test",
        requested_by_kind=ActorKind.choices[0][0],
    )
    target = Target.objects.create(operation=operation, instance=instance, kind=Kind.DEPLOY)
    Target.objects.update(updated_at=Now() - timedelta(seconds=10))
    return target


def test_it_sends_a_hint_for_work_that_nobody_begins(target: Target) -> None:
    reap()

    assert hinted_operations() == [target.operation_id] * settings.WORKERS


def test_it_sends_another_when_that_one_is_deleted_too(target: Target) -> None:
    reap()
    OrmQ.objects.all().delete()

    reap()

    assert hinted_operations() == [target.operation_id] * settings.WORKERS


def test_it_does_not_double_a_hint_that_waits(target: Target) -> None:
    reap()
    reap()

    assert len(hinted_operations()) == settings.WORKERS


def test_work_that_just_came_has_its_own_hint(target: Target) -> None:
    Target.objects.update(updated_at=Now())

    reap()

    assert hinted_operations() == []


def hinted_operations() -> list[int]:
    messages = OrmQ.objects.filter(key=DEPLOYS)
    return [SignedPackage.loads(message.payload)["args"][0] for message in messages]
