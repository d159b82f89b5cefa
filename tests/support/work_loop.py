"""Run drives in the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from deploys.worker import group_commit, work_loop


@pytest.fixture
def run_work_loop() -> Iterator[Callable[[str], None]]:
    """run_work_loop("deploys") returns when nothing of that queue is left to do."""
    yield work_loop.run
    # Their connections outlive a drive by design; the test database can't be dropped while they are open.
    for thread in threading.enumerate():
        if thread.name.startswith("wakeups-"):
            thread.join()
    for pool in (work_loop._thread, group_commit._thread):
        pool.submit(lambda: connection.close()).result()
