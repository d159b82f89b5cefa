"""What the overview and an operation say of trouble: a failed deploy, an unknown instance, a restart that hangs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from deploys.models import Operation, Target
from deploys.states import Kind, Step, TargetStatus
from inventory.models import Health, Instance, RunStatus
from tests.support import demo_data
from tests.support.demo_data import Fleet


@pytest.fixture
def fleet(db: None, client: Client) -> Fleet:
    demo_data.people()
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
    return demo_data.small_fleet()


def shown(client: Client, path: str) -> str:
    return " ".join(client.get(path).content.decode().split())


def row_of(service: str, page: str) -> str:
    (row,) = [row for row in page.split("<tr>") if f'href="/services/{service}"' in row]
    return row


def test_a_service_whose_last_deploy_failed_is_not_healthy(fleet: Fleet, client: Client) -> None:
    """Its instances are well: all were reverted."""
    Instance.objects.filter(service__name="billing").update(health=Health.HEALTHY, run_status=RunStatus.RUNNING)
    assert "Healthy" in row_of("billing", shown(client, "/"))
    demo_data.add_operation(fleet.services["billing"], "bad", [TargetStatus.FAILED], version="v9.9.9", minutes_ago=1)

    page = shown(client, "/")

    assert "Last deploy failed" in row_of("billing", page)
    assert "Healthy" not in row_of("billing", page)
    assert "the last operation of 2 services failed" in page
    assert row_of("billing", shown(client, "/?show=failed"))


def test_an_instance_whose_node_can_not_be_reached_is_a_problem(fleet: Fleet, client: Client) -> None:
    Instance.objects.filter(instance_id="billing-1").update(run_status=RunStatus.UNKNOWN)
    row = row_of("billing", shown(client, "/"))
    assert "1 unknown" in row
    assert "No problem known" not in row


def test_a_restart_that_hangs_is_seen_to_hang(fleet: Fleet, client: Client) -> None:
    """4 min 20 s in a restart, where deploys take seconds: step and age on the overview, and a bar that is mostly that."""
    running = fleet.operations["running"]
    began = timezone.now() - timedelta(seconds=262)
    Operation.objects.filter(pk=running.pk).update(started_at=began)
    held = running.targets.filter(status=TargetStatus.IN_PROGRESS)
    held.update(started_at=began, step=Step.RESTART, step_seconds={"fetch": 1.5, "stage": 0.5})

    overview, page = shown(client, "/"), shown(client, f"/deploys/{running.public_id}")

    assert re.search(r'<span>Restart <time[^>]*data-as="elapsed"[^>]*>04:2\d</time>', overview)
    assert re.search(r'class="tone-warn"> usually \d+ s', overview)
    assert "This takes much longer than usual." in page
    assert re.search(r"at step “Restart” for <time[^>]*>04:2\d</time>", page)
    widths = re.findall(r'<rect class="s-restart" x="[\d.]+%" y="0" width="([\d.]+)%"', page)
    assert max(float(width) for width in widths) > 95
    assert Target.objects.filter(pk__in=held).exists()


def test_an_instance_that_still_runs_what_its_hung_deploy_is_to_replace_is_not_rolled_back_to_it(
    fleet: Fleet, client: Client
) -> None:
    """“v1.1.0, before v1.1.0, Roll back to v1.1.0…” over a preview of “2 stay” and “Roll back 2 instances”."""
    service = fleet.services["billing"]
    operation = demo_data.add_operation(
        service, "hung", [TargetStatus.IN_PROGRESS] * 2, version="v9.0.0", minutes_ago=1
    )
    runs = Instance.objects.get(targets__pk=operation.targets.all()[0].pk).running_version

    page = shown(client, f"/services/{service.name}")
    preview = shown(client, f"/services/{service.name}/roll-back?deploy=hung&to={runs}")

    assert page.count(f"Stop the deploy, stay on {runs}…") == 2
    assert f"Stop the deploy, keep 2 instances on {runs}" in preview
    assert "Roll back 2 instances" not in preview


def test_a_rollback_that_waits_for_a_deploy_says_so_on_its_page(fleet: Fleet, client: Client) -> None:
    service = fleet.services["billing"]
    demo_data.add_operation(service, "hung", [TargetStatus.IN_PROGRESS] * 2, version="v9.0.0", minutes_ago=1)
    demo_data.add_operation(service, "back", [TargetStatus.PENDING] * 2, kind=Kind.ROLLBACK, minutes_ago=0)

    assert "Waiting for a deploy to stop" in shown(client, "/rollbacks/back")
    Target.objects.filter(operation__public_id="hung").delete()
    assert "Waiting for a worker" in shown(client, "/rollbacks/back")
