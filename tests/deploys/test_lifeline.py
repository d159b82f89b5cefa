from __future__ import annotations

import os

import pytest

from deploys import lifeline


def test_outside_of_a_supervisor_nothing_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lifeline.VARIABLE, raising=False)

    assert lifeline.fileno() is None
    assert not lifeline.is_draining()


def test_it_drains_from_when_the_supervisor_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    monkeypatch.setenv(lifeline.VARIABLE, str(read_end))
    assert not lifeline.is_draining()

    os.close(write_end)

    assert lifeline.is_draining()
    assert lifeline.is_draining(), "asking again gives the same answer"
    os.close(read_end)
