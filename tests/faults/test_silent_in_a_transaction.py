"""FAULTS.md 2 and 5: a process freezes, or its host is cut off, in the middle of a transaction that holds locks."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from deploys.states import OperationStatus
from tests.support.database import process_environment
from tests.support.lab import Lab, check_invariants, wait_for_end, wait_until
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

# Between the claim's statements: it has the lock that all claims take in turn, and the targets' rows.
FREEZES_IN_ITS_CLAIM = """
import os, signal, sys, threading, django
django.setup()
from deploys import assignments, drive
def freeze(claimed):
    open(sys.argv[1], "w").close()
    os.kill(os.getpid(), signal.SIGSTOP)
    threading.Event().wait()  # the signal may reach another thread first
assignments._load = freeze
drive.run("deploys")
"""


@contextmanager
def frozen_in_its_claim(lab: Lab, sign: Path) -> Iterator[None]:
    process = subprocess.Popen(
        (sys.executable, "-c", FREEZES_IN_ITS_CLAIM, str(sign)),
        cwd=settings.BASE_DIR,
        env=process_environment(**lab.environment),
    )
    try:
        wait_until(sign.exists, what="claim", seconds=30)
        yield
    finally:
        process.kill()
        process.wait()


def test_the_locks_it_holds_keep_nobody_for_long(lab: Lab, tmp_path: Path) -> None:
    operation = lab.deploy("v1")

    with frozen_in_its_claim(lab, tmp_path / "frozen"):
        frozen_at = time.monotonic()
        with running_worker(lab.environment, wait=False):
            wait_for_end(operation, seconds=45)
        print(f"all done {time.monotonic() - frozen_at:.1f} s later")

    assert operation.status == OperationStatus.COMPLETED
    assert all(Path(each.deploy_root, "restarts.txt").read_text().split() == ["v1"] for each in lab.instances)
    check_invariants(lab.instances)
