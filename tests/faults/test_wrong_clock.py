"""FAULTS.md 15: a worker host's clock is an hour off. Leases go by the database's clock alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from deploys.host.reaper import reap
from deploys.models import LogLine, Operation
from deploys.states import OperationStatus
from deploys.worker.leases import LEASE_SECONDS
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.lone_work_loop import kill, lone_work_loop
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def clock_off_by(shift: timedelta) -> dict[str, str]:
    """Environment variables that make a Python process start with such a clock."""
    folder = Path(settings.BASE_DIR) / "tests" / "support" / "wrong_clock"
    return {"PYTHONPATH": str(folder), "TEST_CLOCK_OFF_BY_SECONDS": str(shift.total_seconds())}


@pytest.mark.parametrize("shift", [timedelta(hours=-1), timedelta(hours=1)], ids=["behind", "ahead"])
def test_it_takes_over_is_left_in_peace_and_is_taken_over_from_as_any_other(
    shift: timedelta, lab: Lab, run_work_loop: Callable[[str], None]
) -> None:
    service = lab.instances[0].service
    service.restart_command += "echo restarted"
    service.save()
    left_behind = claimed_by_one_that_dies(lab, "v1")
    with running_worker({**lab.environment, **clock_off_by(shift)}) as host:
        wait_for_end(left_behind, seconds=30)
        assert abs(when_restarted(left_behind) - timezone.now() - shift) < timedelta(minutes=5), "its clock is right"

        operation = at_work(lab, "v2")
        time.sleep(LEASE_SECONDS + 2)
        assert reap() == 0, "its lease had run out"
        assert set(operation.targets.values_list("claims", flat=True)) == {1}

        host.kill_all()
        (lab.faults / "staged.hold").unlink()
        wait_until(lambda: reap() > 0, what="lease that ran out", seconds=LEASE_SECONDS + 4)
        run_work_loop("deploys")

    for each in (left_behind, operation):
        each.refresh_from_db()
        assert each.status == OperationStatus.COMPLETED
        assert set(each.targets.values_list("claims", flat=True)) == {2}
    for instance in lab.instances:
        assert Path(instance.deploy_root, "restarts.txt").read_text().split() == ["v1", "v2"]
    check_invariants(lab.instances)


def claimed_by_one_that_dies(lab: Lab, version: str) -> Operation:
    """By a worker whose clock is right."""
    lab.hold("staged")
    operation = lab.deploy(version)
    with lone_work_loop("deploys", lab.environment) as worker:
        lab.wait_until_held("staged")
        kill(worker)
    (lab.faults / "staged.hold").unlink()
    return operation


def at_work(lab: Lab, version: str) -> Operation:
    """A deploy that the host holds in its middle."""
    lab.hold("staged")
    (lab.faults / "staged.reached").unlink(missing_ok=True)
    operation = lab.deploy(version)
    lab.wait_until_held("staged")
    return operation


def when_restarted(operation: Operation) -> datetime:
    """By the clock of the worker that wrote the line."""
    return LogLine.objects.filter(operation=operation, text="restarted").latest("seq").at
