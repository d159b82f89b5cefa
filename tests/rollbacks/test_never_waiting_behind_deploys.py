"""A rollback has workers of its own: a deploy that holds all the others does not delay it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploys.states import TargetStatus
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.package_host import PackageHost
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def test_it_starts_at_once_while_a_deploy_holds_every_worker(tmp_path: Path, package_host: PackageHost) -> None:
    lab = Lab.build(tmp_path, package_host, count=4)
    elsewhere, *busy = lab.instances
    with running_worker({**lab.environment, "RELEASE_CONCURRENCY": "1"}) as worker:
        for version in ("v1", "v2"):
            wait_for_end(lab.deploy(version), seconds=60)
        for instance in busy:
            Path(instance.deploy_root, "hold").touch()
        holding = lab.deploy("v3", instances=busy)
        wait_until(
            lambda: holding.targets.filter(status=TargetStatus.IN_PROGRESS, step="restart").count() == len(busy),
            what="deploy in its restarts",
            seconds=30,
        )

        seconds = wait_for_end(lab.roll_back(elsewhere, "v1"), seconds=20)

        assert seconds < 5, f"{seconds:.1f} s\n{worker.log.read_text()}"
        assert os.readlink(f"{elsewhere.deploy_root}/current") == "releases/v1"
        assert holding.targets.filter(status=TargetStatus.IN_PROGRESS).count() == len(busy)
        for instance in busy:
            Path(instance.deploy_root, "hold").unlink()
        wait_for_end(holding, seconds=30)
    check_invariants(lab.instances)
