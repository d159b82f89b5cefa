"""Whose lines are written next, and who has to wait."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from deploys.worker import backlog
from deploys.worker.backlog import Backlog
from deploys.worker.batch import Line
from inventory.nodes.transports.flow import Flow

MIB = 1024 * 1024


def line(operation: int, target: int | None, text: str = "x") -> Line:
    return Line(
        operation_id=operation, target_id=target, instance_id=None, step="", stream="stdout", text=text,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def filled(*lines: Line) -> Backlog:
    waiting = Backlog()
    for each in lines:
        waiting.add(each, None)
    return waiting


OWNERS = st.sampled_from([(1, 11), (1, 12), (1, None), (2, 21), (3, 31)])


@given(st.lists(OWNERS, max_size=300), st.integers(1, 70), st.sets(OWNERS))
def test_every_line_is_taken_once_and_in_its_owners_order(
    owners: list[tuple[int, int | None]], most: int, ending: set[tuple[int, int | None]]
) -> None:
    lines = [line(operation, target, str(number)) for number, (operation, target) in enumerate(owners)]
    waiting = filled(*lines)
    ends = [(operation, target) for operation, target in ending if target is not None]
    taken: list[Line] = []
    while waiting:
        part = waiting.take(lines=most, bytes=MIB, ending=ends)
        assert 0 < len(part) <= most
        waiting.written(part)
        taken += part
    for owner in {each.owner for each in lines}:
        assert [each for each in taken if each.owner == owner] == [each for each in lines if each.owner == owner]
    assert len(taken) == len(lines)


def test_operations_take_turns() -> None:
    waiting = filled(*[line(1, 11)] * 10_000, *[line(2, 21)] * 30)
    taken = waiting.take(lines=200, bytes=MIB, ending=[])
    assert sum(each.operation_id == 2 for each in taken) == 30


def test_targets_of_one_operation_take_turns() -> None:
    waiting = filled(*[line(1, 11)] * 10_000, *[line(1, 12)] * 30)
    assert sum(each.target_id == 12 for each in waiting.take(lines=200, bytes=MIB, ending=[])) == 30


def test_the_lines_of_who_ends_go_first_and_all_of_them() -> None:
    floods = [line(operation, operation * 10) for operation in range(1, 9) for _ in range(1_000)]
    waiting = filled(*floods, *[line(9, 90)] * 150)
    taken = waiting.take(lines=200, bytes=MIB, ending=[(1, 10), (9, 90)])
    assert sum(each.target_id == 90 for each in taken) == 150
    assert not waiting.has_lines_of(9, 90)


def test_a_batch_has_a_bound_in_bytes() -> None:
    waiting = filled(*[line(1, 11, "x" * 100_000)] * 100)
    assert len(waiting.take(lines=2_000, bytes=MIB, ending=[])) <= 12


def test_only_who_is_over_its_share_of_a_full_room_is_held_and_not_for_ever() -> None:
    waiting, flood, honest = Backlog(), Flow(), Flow()
    waiting.add(line(2, 21), honest)
    for _ in range(backlog.MOST_BYTES // MIB + 1):
        waiting.add(line(1, 11, "x" * MIB), flood)
    waiting.add(line(2, 21), honest)
    assert flood.is_held
    assert not honest.is_held

    while waiting:
        waiting.written(waiting.take(lines=1, bytes=MIB, ending=[]))
    assert not flood.is_held
