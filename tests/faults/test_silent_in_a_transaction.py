"""FAULTS.md 2 and 5: a process freezes, or its host is cut off, in the middle of a transaction that holds locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from django.db import connection

from deploys.models import Operation
from deploys.operations import create
from deploys.states import OperationStatus
from deploys.worker import group_commit
from tests.support.api import caller
from tests.support.fleet import ids
from tests.support.lab import Lab, check_invariants, wait_for_end
from tests.support.lone_work_loop import lone_work_loop
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

# Between the claim's statements: it has the lock that all claims take in turn, and the targets' rows.
FREEZE_IN_THE_CLAIM = """
import os, signal, threading
from pathlib import Path
from deploys.worker import claims
def freeze(claimed):
    Path(os.environ["RELEASE_FAULT_DIR"], "claim.reached").touch()
    os.kill(os.getpid(), signal.SIGSTOP)
    threading.Event().wait()  # the signal may reach another thread first
claims._load = freeze
"""


def test_the_locks_it_holds_keep_nobody_for_long(lab: Lab) -> None:
    operation = lab.deploy("v1")

    with lone_work_loop("deploys", lab.environment, first=FREEZE_IN_THE_CLAIM):
        lab.wait_until_held("claim")
        frozen_at = time.monotonic()
        with running_worker(lab.environment, wait=False):
            wait_for_end(operation, seconds=45)
        print(f"all done {time.monotonic() - frozen_at:.1f} s later")

    assert operation.status == OperationStatus.COMPLETED
    assert all(Path(each.deploy_root, "restarts.txt").read_text().split() == ["v1"] for each in lab.instances)
    check_invariants(lab.instances)


def test_a_worker_that_comes_back_writes_again_what_was_ended(
    lab: Lab, run_work_loop: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    falls_silent_in(monkeypatch, group_commit, "write_permits")
    operation = lab.deploy("v1")

    run_work_loop("deploys")

    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED
    assert set(operation.targets.values_list("claims", flat=True)) == {1}
    check_invariants(lab.instances)


def test_a_request_that_comes_back_is_answered_with_503(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    falls_silent_in(monkeypatch, create, "_insert_operation")
    url = lab.add_package("v1")
    body = {"service": "user-service", "version": "v1", "instances": ids(lab.instances), "package_url": url}

    answer = caller().post("/v1/deploy/execute", body, format="json")

    assert answer.status_code == 503, answer.content
    assert not Operation.objects.exists()


def falls_silent_in(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    """Within its transaction, when this function first has something to do, until PostgreSQL has ended the session."""
    usual = getattr(module, name)
    times: list[float] = []

    def silent(*arguments: object) -> object:
        if arguments[0] and not times:
            times.append(time.monotonic())
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '100ms'")
            time.sleep(0.5)
        return usual(*arguments)

    monkeypatch.setattr(module, name, silent)
