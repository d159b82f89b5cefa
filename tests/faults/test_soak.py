"""A short seeded run of the soak; `make soak` runs longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.soak import soak

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def test_random_faults_violate_nothing(tmp_path: Path) -> None:
    report = soak(tmp_path, seed=7, seconds=20)

    print(report.table())
    assert report.violations == []
    assert report.faults.total() > 2
    assert report.outcomes["completed"] > 8
