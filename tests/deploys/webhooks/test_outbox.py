"""An event is stored for whoever wants it, with what makes it, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from deploys.models import Operation
from deploys.operations.cancel import cancel_operation
from deploys.operations.hold import hold_service, release_service
from deploys.operations.queries import operation_payload
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind
from deploys.webhook_models import WebhookDelivery
from inventory.actors import SYSTEM
from inventory.instances.facts import Change, Effect, record
from inventory.models import Instance, Service
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.webhooks import hold_event, make_webhook

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.com/x"


@pytest.fixture
def shop() -> Service:
    return make_service("shop")


@pytest.fixture
def fleet(shop: Service) -> list[Instance]:
    return make_instances(shop, make_node(), 3)


def deploy_that_ends(fleet: list[Instance], name: str = "d-1") -> Operation:
    request = DeployRequest(
        service="shop", version="v1", instances=ids(fleet), package_url="http://p/v1.tgz?key=hunter22", deploy_id=name
    )
    start_deploy(access=SCHEDULER, request=request)
    return cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=name)


def events() -> list[tuple[str, str]]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("event", "subject"))


def test_the_end_of_an_operation_is_told_with_the_keys_of_its_status(fleet: list[Instance]) -> None:
    make_webhook(URL)
    operation = deploy_that_ends(fleet)

    status = operation_payload(SCHEDULER, Kind.DEPLOY, "d-1")
    told = WebhookDelivery.objects.get()
    assert events() == [("operation.finished", "deploy d-1")]
    assert told.data.keys() == status.keys()
    assert told.data["instances"] == status["instances"]
    assert (told.data["status"], told.data["deploy_id"]) == ("cancelled", "d-1")
    assert told.data["completed_at"] == operation.finished_at.strftime("%Y-%m-%dT%H:%M:%SZ")  # type: ignore[union-attr]
    assert told.data["progress"] == {**status["progress"], "superseded": 0}
    assert "hunter22" not in str(told.data)


def test_of_a_large_operation_the_instances_are_left_out(shop: Service) -> None:
    make_webhook(URL)
    deploy_that_ends(make_instances(shop, make_node(), 101))

    assert WebhookDelivery.objects.get().data["instances"] is None


def test_it_is_gone_when_the_transaction_is(fleet: list[Instance]) -> None:
    make_webhook(URL)
    with transaction.atomic():
        deploy_that_ends(fleet)
        assert len(events()) == 1
        transaction.set_rollback(True)

    assert events() == []


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({}, True),
        ({"is_active": False}, False),
        ({"events": ["instance.drifted"]}, False),
        ({"all_services": False}, False),
    ],
)
def test_only_those_who_want_it_are_told(fleet: list[Instance], fields: dict[str, Any], is_told: bool) -> None:
    make_webhook(URL, **fields)
    deploy_that_ends(fleet)

    assert len(events()) == is_told


def test_a_webhook_may_be_of_some_services(shop: Service) -> None:
    webhook = make_webhook(URL, all_services=False)
    webhook.services.add(shop)
    hold_event(shop)
    hold_event(make_service("bank"))

    assert events() == [("service.held", "service shop")]


def change(instance: Instance, **effect: Any) -> Change:
    return Change(instance_id=instance.pk, actor=SYSTEM, effect=Effect(**effect))


def test_drift_is_told_once_and_of_a_service_together(fleet: list[Instance]) -> None:
    make_webhook(URL)
    record([change(each, version="v1", is_expected=True) for each in fleet])
    assert events() == []

    drift = [change(each, version="v0") for each in fleet[:2]]
    record(drift)
    record(drift)
    record([change(fleet[0], run_status="failed")])
    assert events() == [("instance.drifted", "service shop")]
    told = WebhookDelivery.objects.get().data
    assert told["service"] == "shop"
    assert [each["instance_id"] for each in told["instances"]] == ["instance-1", "instance-2"]
    assert told["instances"][0].items() >= {"version": "v0", "expected_version": "v1"}.items()

    record([change(fleet[0], version="v1"), change(fleet[1], version="v2"), change(fleet[2], run_status="failed")])
    newest = WebhookDelivery.objects.latest("pk").data
    assert [(each["instance_id"], each["version"]) for each in newest["instances"]] == [("instance-2", "v2")]


def test_a_hold_and_its_end_are_told(shop: Service) -> None:
    make_webhook(URL)
    hold_service(access=SCHEDULER, service_name="shop", reason="the disk is full")
    hold_service(access=SCHEDULER, service_name="shop", reason="again")
    release_service(access=SCHEDULER, service_name="shop")
    release_service(access=SCHEDULER, service_name="shop")

    assert events() == [("service.held", "service shop"), ("service.released", "service shop")]
    held, released = (each.data for each in WebhookDelivery.objects.order_by("pk"))
    facts = {"service": "shop", "reason": "the disk is full", "held_by": "scheduler", "until": None}
    assert held == {**facts, "held": True, "held_at": held["held_at"]}
    assert released == {**facts, "held": False, "held_at": held["held_at"], "released_by": "scheduler"}


def test_a_deploy_that_a_hold_ends_is_told_before_the_hold(fleet: list[Instance], shop: Service) -> None:
    make_webhook(URL)
    request = DeployRequest(
        service="shop", version="v1", instances=ids(fleet), package_url="http://p/v1", deploy_id="d"
    )
    start_deploy(access=SCHEDULER, request=request)
    hold_service(access=SCHEDULER, service_name="shop", reason="no")

    assert events() == [("operation.finished", "deploy d"), ("service.held", "service shop")]
    assert WebhookDelivery.objects.earliest("pk").data["progress"]["superseded"] == 3
