"""The operation's page says what waits to be confirmed, and until when; who may deploy confirms it there."""

from __future__ import annotations

import re

import pytest

from deploys.models import Operation, Target
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


FORM = {
    "service": "user-service", "version": "v9", "package_url": "https://packages.example.com/v9.tar.gz", "scope": "all",
}  # fmt: skip


def test_the_deploy_form_asks_for_it(fleet: list[Instance]) -> None:
    client = logged_in(person("operator"))
    preview = client.post("/deploy", {**FORM, "step": "preview", "confirm_within": "300"}, format="multipart")
    page = preview.content.decode()
    assert preview.status_code == 200 and "To be confirmed within" in page
    hidden = dict(re.findall(r'name="(digest|deploy_id)" value="([^"]*)"', page))
    client.post("/deploy", {**FORM, **hidden, "step": "start", "confirm_within": "300"}, format="multipart")
    assert Operation.objects.get().confirm_within == 300


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"confirm_within": "9"}, "greater than or equal to 10"),
        ({"confirm_within": "60", "until": "staged"}, "Only what is switched can be confirmed."),
    ],
)
def test_the_form_names_what_is_wrong(fleet: list[Instance], values: dict[str, str], why: str) -> None:
    answer = logged_in(person("operator")).post("/deploy", {**FORM, "step": "preview", **values}, format="multipart")
    assert why in answer.content.decode()
