from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deploys.models import Operation
from deploys.web.pages.queries.service import InstanceFilter, figures
from inventory.models import Instance
from tests.support import demo_data


def test_each_states_count_is_what_its_filter_shows(db: None) -> None:
    service = demo_data.small_fleet().services["user-service"]
    choices = figures(service).status_choices
    assert {value for _family, value, _count in choices} >= {"deploying", "running", "failed", "healthy"}
    for _family, value, count in choices:
        assert InstanceFilter(status=value).matching(service).count() == count, value


NONSENSE = (
    "/?page=x&show=%00&q=%F0",
    "/services/billing?page=999999999&status=zzz&version=%27",
    "/history?since=x&kind=y&before=-1",
    "/history?status=pending&service=%22",
    "/services/billing/roll-back?i=abc&i=99999999999999999999&to=%2e%2e",
    "/services/billing/roll-back?picked=1",
    "/services/billing?q=%00&version=%00&status=%00",
    "/search?q=%00",
    "/search?q=%25+%5C+_&page=x",
    "/search?q=:99999999999",
    "/search?q=10.1.0.1:%D9%A3",
    "/nodes/user-service-node-1?page=x",
    "/history?service=%00&who=%00",
    "/deploys/deploy-2026-11-23-0142?q=%00&instance=%00",
    "/deploy?service=%00",
    "/deploys/deploy-2026-11-23-0142?line=99999999&instance=nobody&status=x",
    "/deploys/deploy-2026-11-23-0142/log?after=x&before=",
    "/deploys/deploy-2026-11-23-0142?page=-3&q=%25",
)


@pytest.mark.parametrize("path", NONSENSE)
def test_nonsense_in_an_address_breaks_nothing(db: None, client: Client, path: str) -> None:
    demo_data.people()
    demo_data.small_fleet()
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
    assert client.get(path).status_code == 200


def test_a_deploy_that_is_not_there_is_not_found(db: None, client: Client) -> None:
    demo_data.people()
    demo_data.small_fleet()
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
    assert client.get("/services/billing/roll-back?deploy=%00no").status_code == 404


def test_a_part_of_a_services_name_finds_its_operations(db: None, client: Client) -> None:
    demo_data.people()
    demo_data.small_fleet()
    client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
    found = client.get("/history?service=user").content.decode()
    assert "deploy-2026-11-23-0142" in found
    assert "deploy-2026-11-23-checkout" not in found


def test_days_and_times_are_the_viewers(db: None, client: Client) -> None:
    """23:30 UTC is the next day in Shanghai; what is no zone is UTC."""
    demo_data.people()
    demo_data.small_fleet()
    client.force_login(User.objects.get(username="admin"), "django.contrib.auth.backends.ModelBackend")
    at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    Operation.objects.filter(public_id="deploy-2026-11-23-0142").update(started_at=at)
    Instance.objects.filter(instance_id="billing-1").update(changed_at=at)
    for zone, day, shown in (
        ("Asia/Shanghai", "2026-03-02", "2026-03-02 07:30:00"),
        ("../x", "2026-03-01", "2026-03-01 23:30"),
    ):
        client.cookies["tz"] = zone
        listed = client.get(f"/history?since={day}&until={day}").content.decode()
        assert "deploy-2026-11-23-0142" in listed, zone
        pk = Operation.objects.get(public_id="deploy-2026-11-23-0142").pk
        in_admin = client.get(f"/admin/deploys/deploy/{pk}/change/").content.decode()
        assert shown in in_admin, zone
