"""All worker processes killed five times while one deploy of many instances is at work: nothing fails for it."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from django.db.models import Max

from deploys.models import Operation
from deploys.states import TargetStatus
from inventory.models import RunStatus, Service
from tests.support.lab import RESTART, Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import PackageHost
from tests.support.worker import WorkerHost, running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

INSTANCES = 160
DEATHS = 5
AFTER_CLAIM_SECONDS = 1.5


def test_nobody_is_blamed_whose_work_had_not_begun(tmp_path: Path, package_host: PackageHost) -> None:
    lab = Lab.build(tmp_path, package_host, count=INSTANCES)
    Service.objects.update(restart_command="sleep 3\n" + RESTART, before_switch_command="")
    with running_worker(lab.environment) as host:
        operation = lab.deploy("v1")
        at_work = [killed_at_claim(number, operation, host) for number in range(1, DEATHS + 1)]
        seconds = wait_for_end(operation, seconds=120)

    lost = set(operation.targets.filter(error_code="worker_lost").values_list("pk", flat=True))
    print(f"at work at each death: {[len(each) for each in at_work]}; {len(lost)} lost; ended {seconds:.1f} s later")
    assert lost <= set.intersection(*at_work)
    others = operation.targets.exclude(pk__in=lost).select_related("instance")
    assert {target.status for target in others} == {TargetStatus.COMPLETED}
    assert {target.instance.run_status for target in others} == {RunStatus.RUNNING}
    check_invariants([target.instance for target in others])


def killed_at_claim(number: int, operation: Operation, host: WorkerHost) -> set[int]:
    """Kills them all a moment after that claim. Returns the targets whose work on the node had begun and not ended."""
    wait_until(lambda: most_claims(operation) >= number, what=f"claim {number}", seconds=60)
    time.sleep(AFTER_CLAIM_SECONDS)
    for process in cluster_processes(host):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    held = operation.targets.filter(status=TargetStatus.IN_PROGRESS).select_related("instance")
    return {target.pk for target in held if Path(target.instance.deploy_root).is_dir()}


def most_claims(operation: Operation) -> int:
    most: int = operation.targets.aggregate(most=Max("claims"))["most"]
    return most


def cluster_processes(host: WorkerHost) -> Collection[psutil.Process]:
    """Those of django-q2, and not what they started: the node programs are another machine's."""
    mains = psutil.Process(host.process.pid).children()
    sentinels = [child for main in mains for child in main.children()]
    return [*mains, *sentinels, *(worker for sentinel in sentinels for worker in sentinel.children())]
