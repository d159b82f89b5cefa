"""A page takes and refuses what the API takes and refuses."""

from __future__ import annotations

import pytest

from deploys.web.api.serializers import ExecuteSerializer
from deploys.web.pages.forms import DeployForm
from inventory.names import MAX_NAME_LENGTH
from inventory.wire.limits import MAX_REASON_LENGTH, MAX_URL_LENGTH
from rollbacks.forms import ConfirmForm
from rollbacks.serializers import BatchRollbackSerializer
from tests.support.fleet import SCHEDULER, make_service

URL = "https://packages.example.com/"
REQUEST = {"service": "user-service", "version": "v1", "package_url": f"{URL}v1.tar.gz", "reason": ""}
LONGEST = {
    "version": "v" * MAX_NAME_LENGTH,
    "package_url": URL.ljust(MAX_URL_LENGTH, "v"),
    "reason": "y" * MAX_REASON_LENGTH,
}


def is_taken_by_the_page(request: dict[str, str]) -> bool:
    deploy = DeployForm({**request, "scope": "all"}, access=SCHEDULER)
    rollback = ConfirmForm({**request, "digest": "d", "rollback_id": f"rollback-{'0' * 16}"})
    fields = {field: field not in deploy.errors for field in REQUEST}
    assert {field: field not in rollback.errors for field in ("package_url", "reason")}.items() <= fields.items()
    return all(fields.values())


def is_taken_by_the_api(request: dict[str, str]) -> bool:
    deploy = ExecuteSerializer(data={**request, "instances": ["instance-1"]})
    rollback = BatchRollbackSerializer(
        data={("target_version" if k == "version" else k): v for k, v in request.items()}
    )
    assert deploy.is_valid() == rollback.is_valid()
    return deploy.is_valid()


@pytest.mark.parametrize("field", LONGEST)
def test_the_longest_value_is_taken_by_both_and_one_character_more_by_neither(db: None, field: str) -> None:
    make_service()
    longest = {**REQUEST, field: LONGEST[field]}
    too_long = {**REQUEST, field: LONGEST[field] + "v"}

    assert (is_taken_by_the_page(longest), is_taken_by_the_api(longest)) == (True, True)
    assert (is_taken_by_the_page(too_long), is_taken_by_the_api(too_long)) == (False, False)
