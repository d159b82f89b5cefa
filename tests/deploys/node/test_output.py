from __future__ import annotations

import os
import time

import pytest

from deploys.node import conversation
from deploys.node.excerpt import CUT, END_LINES, START_LINES
from deploys.node.session import OutputLine
from inventory.nodes.transports.base import NodeMisbehaved
from tests.deploys.node.node_lab import NodeLab
from tests.support.sshd import SshServer


def test_a_command_that_prints_a_gigabyte_is_cut_and_runs_to_its_end(node: NodeLab) -> None:
    switched = node.deploy(
        "1.0.0", fence=1, restart="yes line | head -c 1000000000; echo last | tee ../../ended", timeout_seconds=60
    )
    assert switched.outcome == "switched"
    assert (node.root / "ended").exists()
    lines = node.seen.lines()
    assert lines[:2] == ["line", "line"]
    assert lines[2].endswith(" more like it")
    assert CUT in lines[3:5]
    assert lines[-1] == "last"
    assert len(lines) < 20


@pytest.mark.parametrize("count", [100_000, 10_000_000])
def test_of_very_many_lines_the_first_and_the_last_are_there_with_a_mark_between(node: NodeLab, count: int) -> None:
    switched = node.deploy("1.0.0", fence=1, restart=f"seq 1 {count}; echo why >&2; exit 3", timeout_seconds=60)
    assert switched.restart_exit == 3
    lines = node.seen.lines()
    assert lines[:START_LINES] == [str(number) for number in range(1, START_LINES + 1)]
    assert lines[START_LINES] == (CUT if count > 1_000_000 else f"[{count - START_LINES - END_LINES:,} lines left out]")
    assert lines[-END_LINES:] == [str(number) for number in range(count - END_LINES + 1, count + 1)]
    assert node.seen.lines("stderr") == ["why"]


def test_a_daemon_that_keeps_the_streams_of_a_flood_open_holds_nothing_up(node: NodeLab) -> None:
    restart = "seq 1 5000000; sleep 30 & echo $! >../../daemon"
    began = time.monotonic()
    assert node.deploy("1.0.0", fence=1, restart=restart, timeout_seconds=60).outcome == "switched"
    assert time.monotonic() - began < 20
    assert os.path.exists(f"/proc/{(node.root / 'daemon').read_text().strip()}")
    assert CUT in node.seen.lines()


def test_most_of_what_is_cut_never_leaves_the_node(node: NodeLab) -> None:
    received = 0

    async def main(transport: object) -> None:
        nonlocal received
        run = transport.run  # type: ignore[attr-defined]

        async def counting(program: str, arguments: list[str], **options: object) -> object:
            feed = options["on_output"]

            def count(stream: str, data: bytes) -> None:
                nonlocal received
                received += len(data)
                feed(stream, data)  # type: ignore[operator]

            return await run(program, arguments, **{**options, "on_output": count})

        transport.run = counting  # type: ignore[attr-defined]
        await node.switch_on(transport, "1.0.0", fence=1, restart="head -c 2000000000 /dev/zero", timeout_seconds=60)  # type: ignore[arg-type]

    node.stage("1.0.0", fence=1)
    node.within(main)
    assert received < 1_000_000_000


def test_a_flood_ends_as_ever_where_the_node_grants_no_session_to_mute_it(
    own_sshd: SshServer, lab: NodeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_sshd.reconfigure("MaxSessions 2000", "MaxSessions 1")
    monkeypatch.setattr(conversation, "MUTE_SECONDS", 1.0)
    node = lab.behind(own_sshd)
    restart = "head -c 60000000 /dev/zero | tr '\\0' '\\n'; seq 1 100000; echo why >&2; echo last; exit 3"
    began = time.monotonic()
    switched = node.deploy("1.0.0", fence=1, restart=restart, timeout_seconds=30)
    assert (switched.outcome, switched.restart_exit) == ("restart_failed", 3)
    assert node.seen.lines().count(CUT) == 1
    assert node.seen.lines()[-2:] == ["100000", "last"]
    assert node.seen.lines("stderr") == ["why"]
    assert time.monotonic() - began > 4, "read as fast as it comes"


def test_one_that_can_not_be_muted_is_heard_no_longer_than_its_command_may_take(
    own_sshd: SshServer, lab: NodeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_sshd.reconfigure("MaxSessions 2000", "MaxSessions 1")
    monkeypatch.setattr(conversation, "MUTE_SECONDS", 0.5)
    monkeypatch.setattr(conversation, "LATE_SECONDS", -18.0)
    with pytest.raises(NodeMisbehaved, match="time limit"):
        lab.behind(own_sshd).deploy("1.0.0", fence=1, restart="yes", timeout_seconds=20)


def test_each_stream_has_a_cap_of_its_own(lab: NodeLab) -> None:
    lab.deploy("1.0.0", fence=1, restart="head -c 3000000 /dev/zero | tr '\\0' x; echo quiet >&2")
    assert lab.seen.lines().count(CUT) == 1
    assert lab.seen.lines("stderr") == ["quiet"]


def test_the_way_back_is_heard_after_a_cut(lab: NodeLab) -> None:
    lab.deploy("1.0.0", fence=1)
    restart = (
        "[ $RELEASE_VERSION = 1.0.0 ] && echo back && exit; yes | head -c 5000000; yes | head -c 5000000 >&2; exit 1"
    )
    switched = lab.deploy("1.1.0", fence=2, restart=restart)
    assert switched.reverted
    assert lab.seen.lines().count(CUT) == 1
    assert lab.seen.lines()[-1] == "back"
    assert lab.seen.lines("stderr").count(CUT) == 1


def test_lines_come_while_the_command_runs(node: NodeLab) -> None:
    seen: list[float] = []
    node.seen.events = _Stamped(seen)
    node.deploy("1.0.0", fence=1, restart="echo first; sleep 0.6; echo second")
    assert seen[-1] - seen[-2] > 0.4


def test_binary_output_does_no_harm(node: NodeLab) -> None:
    switched = node.deploy("1.0.0", fence=1, restart="head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2")
    assert switched.outcome == "switched"
    assert not any(character in line for line in node.seen.lines() for character in "\x00\x1b\x1e\r\n")


def test_a_last_line_without_newline_is_kept_and_kept_apart(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1, restart="printf 'no newline'; printf 'err too' >&2")
    assert node.seen.lines() == ["no newline"]
    assert node.seen.lines("stderr") == ["err too"]


class _Stamped(list):  # type: ignore[type-arg]
    def __init__(self, times: list[float]) -> None:
        super().__init__()
        self._times = times

    def append(self, event: object) -> None:
        if isinstance(event, OutputLine):
            self._times.append(time.monotonic())
        super().append(event)
