"""The operation's page says what waits to be confirmed, and until when; who may deploy confirms it there."""

from __future__ import annotations

import pytest

from deploys.models import Target
from inventory.models import Instance
from tests.deploys.web.test_api_confirming_a_deploy import fleet, wait
from tests.deploys.web.test_api_starting_a_deploy import DOCUMENT, execute
from tests.support.api import logged_in, person

__all__ = ("fleet",)

PAGE = "/deploys/deploy-12345"


@pytest.fixture
def waiting(fleet: list[Instance]) -> list[Instance]:
    execute(DOCUMENT, confirm_within=600)
    wait("instance-1", "instance-2")
    return fleet


def test_an_operator_confirms_what_waits(waiting: list[Instance]) -> None:
    client = logged_in(person("operator"))
    page = client.get(PAGE).content.decode()
    assert "2 instances are waiting to be confirmed until <time" in page and 'id="do-confirm"' in page
    answer = client.post(f"{PAGE}/confirm", follow=True)
    assert "Confirmed: what waited stays." in answer.content.decode()
    assert Target.objects.exclude(confirmed_at=None).count() == 2
    assert "waiting to be confirmed" not in client.get(PAGE).content.decode()
    again = client.post(f"{PAGE}/confirm", follow=True)
    assert again.status_code == 200


def test_nothing_is_confirmed_by_who_may_not_deploy_or_without_csrf(waiting: list[Instance]) -> None:
    viewer = logged_in(person("viewer"))
    page = viewer.get(PAGE).content.decode()
    assert "2 instances are waiting to be confirmed" in page and "do-confirm" not in page
    assert viewer.post(f"{PAGE}/confirm").status_code == 403
    assert logged_in(person("operator", name="eve"), sends_csrf=False).post(f"{PAGE}/confirm").status_code == 403
    assert not Target.objects.exclude(confirmed_at=None).exists()


def test_what_is_late_says_so(waiting: list[Instance]) -> None:
    wait("instance-1", "instance-2", seconds=-1)
    answer = logged_in(person("operator")).post(f"{PAGE}/confirm", follow=True)
    assert "Nothing waited to be confirmed any more" in answer.content.decode()
