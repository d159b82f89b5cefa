from __future__ import annotations

from deploys.worker import log_share
from deploys.worker.log_share import LogShare, LogSize, Output


def print_lines(share: LogShare, size: LogSize, lines: list[str]) -> list[str]:
    """What goes to the log at once."""
    stored = []
    for text in lines:
        if share.has_room(Output("restart", "stdout", text)):
            size.add(text)
            stored.append(text)
    return stored


def test_honest_output_of_ten_thousand_instances_finds_room() -> None:
    size = LogSize()
    for _ in range(10_000):
        share = LogShare(targets=10_000, size=size)
        assert len(print_lines(share, size, ["started"] * 10)) == 10
        assert share.rest() == []


def test_whatever_all_print_the_log_has_a_bound_and_each_has_its_share() -> None:
    size = LogSize()
    numbers = [str(number) for number in range(5_000)]
    shares = [LogShare(targets=200, size=size) for _ in range(200)]
    stored = [len(print_lines(share, size, numbers)) for share in shares]
    assert min(stored) >= log_share.MOST_LINES // 2 // 200
    assert size.lines <= log_share.MOST_LINES
    for share in shares:
        rest = share.rest()
        assert not rest or rest[-1].text == "4999"
        assert len(rest) <= log_share.LAST_LINES + 1


def test_the_bound_is_one_of_bytes_too() -> None:
    size = LogSize()
    for _ in range(100):
        print_lines(LogShare(targets=100, size=size), size, ["x" * 16_384] * 300)
    assert size.bytes <= log_share.MOST_BYTES + 100 * 16_384


def test_what_finds_no_room_is_counted_once_and_its_end_comes_behind_the_mark() -> None:
    size = LogSize(lines=log_share.MOST_LINES)
    share = LogShare(targets=log_share.MOST_LINES, size=size)
    assert print_lines(share, size, [str(number) for number in range(100)]) == []
    mark, *last = share.rest()
    assert (mark.stream, mark.text) == ("system", "[90 lines left out: no more room in this operation's log]")
    assert [each.text for each in last] == [str(number) for number in range(90, 100)]
    assert share.rest() == []


def test_what_finds_room_again_does_not_overtake_what_found_none() -> None:
    size = LogSize(lines=log_share.MOST_LINES)
    share = LogShare(targets=log_share.MOST_LINES, size=size)
    assert print_lines(share, size, ["1"]) == []
    size.lines = 0
    assert print_lines(share, size, ["2"]) == []
    assert [each.text for each in share.rest()] == ["1", "2"]
    assert print_lines(share, size, ["3"]) == ["3"]


def test_what_other_processes_stored_counts_and_what_is_stored_counts_once() -> None:
    size = LogSize()
    size.add("four")
    size.now_stored(101, 1_004, own=["four"])
    assert (size.lines, size.bytes) == (101, 1_004)
    size.add("four")
    size.now_stored(102, 1_008, own=["four"])
    assert (size.lines, size.bytes) == (102, 1_008)
