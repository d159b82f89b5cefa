from __future__ import annotations

import os

import pytest

from deploys.queue import draining


def test_outside_of_a_supervisor_nothing_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(draining.VARIABLE, raising=False)

    assert draining.fileno() is None
    assert not draining.is_draining()


def test_it_drains_from_when_the_supervisor_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    monkeypatch.setenv(draining.VARIABLE, str(read_end))
    assert not draining.is_draining()

    os.close(write_end)

    assert draining.is_draining()
    assert draining.is_draining(), "asking again gives the same answer"
    os.close(read_end)
