from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import psutil
import pytest

from deploys.node.session import CommandEnded, Linked, OutputLine, Removed, StepStarted, Verified
from inventory.nodes.transports.base import Transport
from tests.deploys.node.node_lab import NodeLab


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text().strip()
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 3
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def test_a_failed_restart_goes_back_and_restarts_the_old_release(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    restart = "echo $RELEASE_VERSION after $RELEASE_PREVIOUS_VERSION; cat VERSION; echo; [ $RELEASE_VERSION != 1.1.0 ]"
    switched = node.deploy("1.1.0", fence=2, restart=restart, keep=["1.0.0"])
    assert (switched.outcome, switched.restart_exit, switched.timed_out) == ("restart_failed", 1, False)
    assert (switched.reverted, switched.previous, switched.warnings) == (True, "1.0.0", ())
    assert node.current == "releases/1.0.0"
    assert node.seen.lines() == ["1.1.0 after 1.0.0", "1.1.0", "1.0.0 after 1.1.0", "1.0.0"]
    assert node.seen.steps()[-3:] == ["switch", "restart", "revert"]
    assert [line[1:3] for line in node.log_lines()][1:] == [["1.0.0", "1.1.0"], ["1.1.0", "1.0.0"]]


def test_each_thing_it_does_is_told_in_its_order_and_a_commands_end_behind_its_output(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    node.seen.events.clear()
    restart = "echo one; sleep 0.1; echo two >&2; [ $RELEASE_VERSION != 1.1.0 ]"
    node.switch("1.1.0", fence=2, restart=restart)
    assert told(node) == [
        "switch", ("1.0.0", "1.1.0"), "restart", "one", "two", 1, ("1.1.0", "1.0.0"), "revert", "one", "two", 0,
    ]  # fmt: skip
    assert all(0.1 <= each.seconds < 5 for each in node.seen.events if isinstance(each, CommandEnded))


def test_what_is_found_out_and_cleaned_up_is_told(node: NodeLab) -> None:
    for fence, version in enumerate(("1.0.0", "1.1.0", "1.2.0"), start=1):
        node.stage(version, fence=fence)
    node.switch("1.0.0", fence=4, keep=["1.1.0", "1.2.0"])
    node.seen.events.clear()
    node.switch("1.2.0", fence=5, version_command="cat VERSION", version_timeout_seconds=5)
    node.switch("1.2.0", fence=6)
    assert told(node) == [
        "switch", ("1.0.0", "1.2.0"), "verify", Verified(), "clean_up", Removed(count=1, releases="1.1.0"),
        "switch", ("1.2.0", "1.2.0"), "clean_up", Removed(count=1, releases="1.0.0"),
    ]  # fmt: skip


def told(node: NodeLab) -> list[object]:
    """The events, the common ones short. A command's two streams come in no order of their own."""
    shown: list[object] = []
    for event in node.seen.events:
        match event:
            case StepStarted(step=step):
                shown.append(step)
            case OutputLine(text=text):
                shown.append(text)
            case Linked(before=before, now=now):
                shown.append((before, now))
            case CommandEnded(exit_status=status, timed_out=False):
                shown.append(status)
            case _:
                shown.append(event)
    return shown


def test_without_a_release_before_there_is_nothing_to_go_back_to(node: NodeLab) -> None:
    switched = node.deploy("1.0.0", fence=1, restart="exit 3")
    assert (switched.outcome, switched.restart_exit, switched.reverted) == ("restart_failed", 3, False)
    assert node.current == "releases/1.0.0"


def test_when_the_old_release_does_not_restart_either_it_says_so(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    switched = node.deploy("1.1.0", fence=2, restart="exit 4")
    assert (switched.restart_exit, switched.reverted) == (4, True)
    assert (switched.back, switched.back_exit, switched.has_way_back_failed) == ("restarted", 4, True)


def test_a_restart_out_of_time_is_killed_with_its_group_and_goes_back(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    restart = "[ $RELEASE_VERSION = 1.0.0 ] && exit; trap '' TERM; sleep 60 & echo $!; (trap '' TERM; sleep 61) & echo $!; wait"
    begun = time.monotonic()
    switched = node.deploy("1.1.0", fence=2, restart=restart, timeout_seconds=1)
    assert time.monotonic() - begun < 12
    assert (switched.outcome, switched.timed_out, switched.reverted) == ("restart_failed", True, True)
    assert [int(pid) for pid in node.seen.lines() if not is_gone(int(pid))] == []
    assert node.current == "releases/1.0.0"


def test_a_restart_that_exits_with_timeouts_own_status_was_not_out_of_time(lab: NodeLab) -> None:
    switched = lab.deploy("1.0.0", fence=1, restart="exit 124")
    assert (switched.restart_exit, switched.timed_out) == (124, False)


def test_what_a_failed_restart_started_is_killed(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.deploy("1.1.0", fence=2, restart="[ $RELEASE_VERSION = 1.0.0 ] && exit; sleep 60 & echo $!; exit 1")
    assert is_gone(int(node.seen.lines()[0]))


def test_a_daemon_that_holds_stdout_neither_blocks_us_nor_dies_of_it(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    daemon = (
        "(i=0; while [ $i -lt 30 ]; do echo tick || exit; sleep 0.1; i=$((i + 1)); done; echo whole >../../ticked) &"
    )
    begun = time.monotonic()
    switched = node.deploy("1.1.0", fence=2, restart=f"{daemon} echo started")
    assert switched.outcome == "switched"
    assert time.monotonic() - begun < 2.5
    assert "started" in node.seen.lines()
    assert wait_for(node.root / "ticked") == "whole"


def test_a_restart_that_closes_its_stdout_is_still_waited_for(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1, restart="exec >&- 2>&-; sleep 0.5; exit 5")
    last = node.state().last
    assert last is not None
    assert last.restart_exit == 5


def test_an_abort_ends_the_restart_and_the_way_back_follows(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)

    async def main(transport: Transport) -> object:
        restart = "[ $RELEASE_VERSION = 1.0.0 ] || { echo waiting; sleep 60; }"
        task = asyncio.create_task(node.switch_on(transport, "1.1.0", fence=2, restart=restart, timeout_seconds=120))
        while "waiting" not in node.seen.lines():
            await asyncio.sleep(0.02)
        await node.session(transport, 2).abort()
        return await task

    begun = time.monotonic()
    switched = node.within(main)
    assert time.monotonic() - begun < 5
    assert (switched.outcome, switched.timed_out, switched.reverted) == ("restart_failed", False, True)  # type: ignore[attr-defined]
    assert switched.was_stopped  # type: ignore[attr-defined]
    assert node.current == "releases/1.0.0"


def test_an_abort_with_nothing_to_end_does_nothing(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.within(lambda transport: node.session(transport, 1).abort())
    node.within(lambda transport: node.session(transport, 7).abort())
    assert node.current == "releases/1.0.0"


def test_the_switch_is_finished_by_itself_when_nobody_listens_any_more(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    restart = "[ $RELEASE_VERSION = 1.0.0 ] && exit; echo waiting; sleep 1; yes | head -c 3000000; exit 1"

    async def main(transport: Transport) -> None:
        task = asyncio.create_task(node.switch_on(transport, "1.1.0", fence=2, restart=restart))
        while "waiting" not in node.seen.lines():
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    node.within(main)
    state = node.state()
    assert state.last is not None
    assert (state.last.is_alive, state.last.phase, state.current) == (True, "switched", "1.1.0")
    deadline = time.monotonic() + 10
    while state.last is not None and state.last.is_alive and time.monotonic() < deadline:
        time.sleep(0.05)
        state = node.state()
    assert state.last is not None
    assert (state.last.phase, state.last.restart_exit, state.last.reverted) == ("done", 1, True)
    assert state.current == "1.0.0"


def test_only_old_releases_of_ours_are_removed(node: NodeLab) -> None:
    for fence, version in enumerate(("1.0.0", "1.1.0", "1.2.0", "1.3.0"), start=1):
        node.deploy(version, fence=fence, keep=["1.0.0", "1.1.0", "1.2.0", "1.3.0"])
    node.stage("1.4.0", fence=5)
    prepare = "cd ..; mkdir -p by-hand; ln -sfn 1.1.0 link-by-hand; echo x >note"
    switched = node.switch("1.4.0", fence=5, keep=["1.4.0", "1.1.0"], restart=prepare)
    assert node.releases() == ["1.1.0", "1.3.0", "1.4.0", "by-hand", "link-by-hand", "note"]
    assert switched.warnings == ()
    assert sorted(os.listdir(node.root / ".release" / "seals")) == ["1.1.0", "1.3.0", "1.4.0"]
    assert node.leftovers() == []


def test_a_failed_switch_removes_nothing(node: NodeLab) -> None:
    for fence, version in enumerate(("1.0.0", "1.1.0"), start=1):
        node.deploy(version, fence=fence, keep=["1.0.0"])
    node.deploy("1.2.0", fence=3, restart="exit 1")
    assert node.releases() == ["1.0.0", "1.1.0", "1.2.0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can put another user's files there")
@pytest.mark.parametrize("node", ["ssh"], indirect=True)
def test_a_release_that_can_not_be_removed_is_a_warning(node: NodeLab) -> None:
    for fence, version in enumerate(("1.0.0", "1.1.0"), start=1):
        node.deploy(version, fence=fence, keep=["1.0.0"])
    stubborn = node.release("1.0.0") / "cache"
    stubborn.mkdir()
    (stubborn / "file").touch()
    switched = node.deploy("1.2.0", fence=3)
    assert switched.outcome == "switched"
    assert "could not be removed" in switched.warnings[0]
    assert node.releases() == ["1.1.0", "1.2.0"]
    # What another user owns is tried again each time, and told each time.
    assert all("could not be removed" in warning for warning in node.deploy("1.3.0", fence=4).warnings)
