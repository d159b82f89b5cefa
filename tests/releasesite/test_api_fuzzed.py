"""Generated calls of every kind find no server error and no answer that the OpenAPI document does not tell of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from releasesite.models import TokenScope
from releasesite.wsgi import application
from tests.support.api import caller, new_token
from tests.support.fleet import make_instances, make_node, make_service

load_all_checks()
# What is asked for may be valid and yet impossible here: an instance that does not exist, a cancel of what is over.
LEFT_OUT = {"positive_data_acceptance"}
WANTED = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]


CASES_PER_CALL = 10


@pytest.fixture
def document(db: None) -> Iterator[Any]:
    """Its calls share the test's own connection, which Django would close after each of them."""
    make_instances(make_service("user-service"), make_node())
    schema = schemathesis.openapi.from_dict(caller("read").get("/v1/schema").json())
    schema.app = application
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield schema
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("scope", TokenScope.values)
def test_every_answer_is_documented(document: Any, scope: str, mode: GenerationMode) -> None:
    headers = {"Authorization": f"Bearer {new_token(scope)}"}
    calls = [result.ok() for result in document.get_all_operations()]

    for operation in calls:
        fuzz(operation.as_strategy(generation_mode=mode), headers)


def fuzz(cases: Any, headers: dict[str, str]) -> None:
    @settings(
        max_examples=CASES_PER_CALL,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=WANTED)

    check()
