from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django_q.models import OrmQ
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from deploys.models import Target, Worker
from deploys.operations.hold import hold_service, release_service
from deploys.operations.start import DeployRequest, start_deploy
from deploys.webhook_models import Webhook, WebhookDelivery
from inventory.models import Instance
from tests.support.api import caller, logged_in, person
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.webhooks import hold_event, make_sent, make_webhook

pytestmark = pytest.mark.django_db


def scraped() -> dict[tuple[str, ...], float]:
    """{(name, label value, …): value}, as Prometheus reads it."""
    text = caller("read").get("/metrics").content.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


@pytest.fixture
def fleet() -> list[Instance]:
    return make_instances(make_service(), make_node(), count=4)


def test_an_idle_system_shows_zeros_rather_than_nothing() -> None:
    found = scraped()

    assert found["release_operations", "deploy", "pending"] == 0
    assert found["release_targets", "rollback", "in_progress"] == 0
    assert found["release_oldest_pending_seconds", "deploy"] == 0
    assert found["release_queue_messages", "rollbacks"] == 0
    assert found["release_webhook_deliveries", "pending"] == 0
    assert found["release_workers",] == 0
    assert found["release_services_held",] == 0


def test_it_counts_the_services_that_are_held_now(fleet: list[Instance]) -> None:
    make_service("other")
    for name in ("user-service", "other"):
        hold_service(access=SCHEDULER, service_name=name, reason="x")
    release_service(access=SCHEDULER, service_name="other")

    assert scraped()["release_services_held",] == 1


def test_it_counts_what_waits_and_what_is_under_way(fleet: list[Instance]) -> None:
    request = DeployRequest(service="user-service", version="v1", instances=ids(fleet), package_url="http://p/v1.tgz")
    operation = start_deploy(access=SCHEDULER, request=request)
    waiting = OrmQ.objects.filter(key="deploys").count()
    Target.objects.update(created_at=Now() - timedelta(seconds=90))

    assert scraped()["release_operations", "deploy", "pending"] == 1

    Target.objects.filter(instance=fleet[0]).update(status="in_progress", started_at=Now())
    found = scraped()

    assert operation.total == 4
    assert found["release_operations", "deploy", "pending"] == 0
    assert found["release_operations", "deploy", "in_progress"] == 1
    assert found["release_operations", "rollback", "in_progress"] == 0
    assert found["release_targets", "deploy", "pending"] == 3
    assert found["release_targets", "deploy", "in_progress"] == 1
    assert 90 <= found["release_oldest_pending_seconds", "deploy"] < 120
    assert found["release_queue_messages", "deploys"] == waiting > 0


def test_it_counts_the_workers_that_are_alive() -> None:
    for number, seconds in enumerate((0, 5, 60)):
        Worker.objects.create(name=f"w{number}", host="h", pid=1, seen_at=Now() - timedelta(seconds=seconds))

    assert scraped()["release_workers",] == 2


def test_it_counts_what_webhooks_have_not_got() -> None:
    delivery = make_sent(make_webhook("https://hooks.example.com/x"))
    assert ("release_webhook_deliveries", "sent") not in scraped()

    WebhookDelivery.objects.update(status="failed")
    hold_event(make_service("shop"))
    assert scraped()["release_webhook_deliveries", "failed"] == 1
    assert scraped()["release_webhook_deliveries", "pending"] == 1

    Webhook.objects.filter(pk=delivery.webhook_id).update(is_active=False)
    assert scraped()["release_webhook_deliveries", "failed"] == 0


def test_it_counts_failed_and_drifted_instances_by_service(fleet: list[Instance]) -> None:
    Instance.objects.filter(pk=fleet[0].pk).update(run_status="failed")
    drifted = [fleet[1].pk, fleet[2].pk]
    Instance.objects.filter(pk__in=drifted).update(expected_version="v2", running_version="v1")

    found = scraped()

    assert found["release_instances", "user-service"] == 4
    assert found["release_instances_failed", "user-service"] == 1
    assert found["release_instances_drifted", "user-service"] == 2


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.7"])
def test_it_takes_a_token_that_may_read_everything_wherever_one_calls_from(address: str) -> None:
    limited = caller("read", [make_service("other")])
    place: Any = {"REMOTE_ADDR": address}

    assert caller("read").get("/metrics", **place).status_code == 200
    assert limited.get("/metrics", **place).status_code == 403
    assert caller("report").get("/metrics", **place).status_code == 403
    assert logged_in(person("viewer")).get("/metrics", **place).status_code == 200
    assert APIClient().get("/metrics", **place).status_code == 401


def test_it_takes_few_queries(fleet: list[Instance], django_assert_max_num_queries: object) -> None:
    prometheus = caller("read")
    prometheus.get("/metrics")  # marks the token as used, once a minute

    with django_assert_max_num_queries(14):  # type: ignore[operator]
        prometheus.get("/metrics")
