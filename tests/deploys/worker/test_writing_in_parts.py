from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import DataError

from deploys.worker.batch import Batch, Event, Line
from deploys.worker.refusals import MOST_REFUSALS, Written, write_in_parts


def line(target: int, text: str) -> Line:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Line(operation_id=1, target_id=target, instance_id=target, step="", stream="stdout", text=text, at=at)


class Database:
    """Takes batches of up to `most` events that it can store."""

    def __init__(self, *, most: int, is_bad: Callable[[Event], bool]) -> None:
        self.stored: list[Event] = []
        self.attempts = 0
        self._most = most
        self._is_bad = is_bad

    def write(self, batch: Batch) -> Written:
        self.attempts += 1
        if len(batch.events) > self._most or any(map(self._is_bad, batch.events)):
            raise DataError("no")
        self.stored += batch.events
        return Written()


def test_all_but_what_is_refused_is_written_in_its_order() -> None:
    events = [line(number % 40 + 1, str(number)) for number in range(2_000)]
    database = Database(most=2_000, is_bad=lambda event: isinstance(event, Line) and event.text == "777")

    written = write_in_parts(Batch(events), database.write)

    assert set(written.refused) == {777 % 40 + 1}
    for target in range(1, 41):
        assert [each for each in database.stored if each.owner == target] == [
            each for each in events if each.owner == target and each.text != "777"
        ]
    assert database.attempts < 40


def test_a_batch_that_is_too_large_is_written_in_parts() -> None:
    events = [line(1, str(number)) for number in range(100)]
    database = Database(most=30, is_bad=lambda _event: False)
    assert not write_in_parts(Batch(events), database.write).refused
    assert database.stored == events


@pytest.mark.parametrize("count", [10, 1_000])
def test_who_is_refused_all_is_not_tried_for_ever(count: int) -> None:
    bad = [line(1, str(number)) for number in range(count)]
    good = [line(2, str(number)) for number in range(count)]
    database = Database(most=3_000, is_bad=lambda event: event.owner == 1)

    written = write_in_parts(Batch([*bad, *good]), database.write)

    assert database.stored == good
    assert set(written.refused) == {1}
    assert database.attempts < 40 * MOST_REFUSALS
