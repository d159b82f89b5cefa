"""Generated calls of every kind find no server error and no answer that the OpenAPI document does not tell of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
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
from tests.support.api import caller, expired_token, new_token, revoked_token
from tests.support.fleet import make_instances, make_node, make_service

load_all_checks()
# What is asked for may be valid and yet impossible here: an instance that does not exist, a cancel of what is over.
LEFT_OUT = {"positive_data_acceptance"}
WANTED = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]

# `make fuzz` sets it, and the seed (tests/fuzz.py); else the same cases come each time.
FUZZ_CASES = os.environ.get("RELEASE_TEST_FUZZ_CASES")
CASES_PER_CALL = int(FUZZ_CASES or 10)


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


# Those who get in nowhere need no second round: they never come to a view.
CALLERS: dict[str, Callable[[], str]] = {
    **{scope: partial(new_token, scope) for scope in TokenScope.values},
    "deploy of another service": lambda: new_token("deploy", [make_service("other-service")]),
    "expired": expired_token,
    "revoked": revoked_token,
    "unknown": lambda: "rxt_unknown",
}
ROUNDS = [(name, mode) for name in CALLERS for mode in GenerationMode if name in TokenScope.values]
ROUNDS += [(name, GenerationMode.POSITIVE) for name in CALLERS if name not in TokenScope.values]


@pytest.mark.parametrize(("name", "mode"), ROUNDS)
def test_every_answer_is_documented(document: Any, name: str, mode: GenerationMode) -> None:
    # A long refusal comes compressed to whoever takes that; the tool says that it does, and then reads it as it came.
    headers = {"Authorization": f"Bearer {CALLERS[name]()}", "Accept-Encoding": "identity"}
    calls = [result.ok() for result in document.get_all_operations()]

    sent = sum(fuzz(operation.as_strategy(generation_mode=mode), headers) for operation in calls)

    print(f"{sent} cases for {len(calls)} calls, token {name}, {mode.value}")
    assert sent > len(calls)


def fuzz(cases: Any, headers: dict[str, str]) -> int:
    """How many cases were sent."""
    sent = 0

    @settings(
        max_examples=CASES_PER_CALL,
        derandomize=FUZZ_CASES is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Any) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(headers=headers, checks=WANTED)

    check()
    return sent
