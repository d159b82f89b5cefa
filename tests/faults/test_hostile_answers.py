"""Hundreds of nodes that lie, each in its own way, at once: each is its own trouble, and nobody else's.

`make hostile` prints what each kind costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.node.excerpt import END_LINES, START_LINES
from deploys.states import TargetStatus
from tests.faults.hostile import experiment
from tests.faults.hostile.fleet import Fleet, lying_fleet
from tests.faults.hostile.site import Site, site
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

SEED = 1
MIB = 1024 * 1024
# A claim is made anew after a broken connection, after a fence that is behind, after a database that is away.
ATTEMPTS_A_TARGET = 10
CALLS_A_NODE = 40
# One command's excerpt, and the system's own words about one target: a handful, some more when it is tried again.
MOST_ROWS = START_LINES + END_LINES + 50
MEDIAN_ROWS = 20
MEMORY_BYTES = 300 * MIB
# On two cores that three hundred liars use too, and maybe other tests; a stalled loop takes a minute and more.
SLACK_SECONDS = 10.0


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with lying_fleet(SEED) as fleet:
        yield fleet


@pytest.fixture
def here(tmp_path: Path, package_host: PackageHost, sshd: SshServer, fleet: Fleet) -> Iterator[Site]:
    with site(tmp_path, package_host, sshd, fleet.liars) as here:
        yield here


def test_liars_end_for_themselves_and_keep_nobody_waiting(here: Site, fleet: Fleet) -> None:
    alone = experiment.measure_alone(here)
    result = experiment.run(here, fleet, alone_seconds=alone)
    fleet.stop()
    print(result)

    assert len(fleet.liars) >= 200
    assert result.violations == []
    assert not any(outcome.startswith(TargetStatus.PENDING) for outcome in result.outcomes)
    assert result.median_seconds <= 1.5 * alone + SLACK_SECONDS, result.beside_seconds
    assert result.memory_bytes < MEMORY_BYTES
    assert result.most_rows <= MOST_ROWS
    assert result.median_rows <= MEDIAN_ROWS
    assert result.most_attempts <= ATTEMPTS_A_TARGET
    assert max(fleet.calls.values()) <= CALLS_A_NODE, max(fleet.calls.items(), key=lambda each: each[1])


def test_a_sync_and_the_test_of_a_connection_end_for_each(here: Site, fleet: Fleet) -> None:
    result = experiment.Result(liars=len(fleet.liars))
    told = experiment.read(here, fleet, result)
    print(told.sync_seconds, told.sync_bytes // MIB, told.test_seconds, told.test_bytes // MIB)

    assert result.violations == []
    assert len(told.errors) == len(fleet.liars)
    assert told.sync_seconds < 40
    assert told.test_seconds < 15
    assert max(told.sync_bytes, told.test_bytes) < MEMORY_BYTES
