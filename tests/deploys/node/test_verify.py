"""After a restart the version command says which version runs; when it names another one, the node goes back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from deploys.node.session import Switch
from inventory.nodes.transports.base import Transport
from tests.deploys.node.node_lab import NodeLab
from tests.deploys.node.test_restart import is_gone, wait_for
from tests.deploys.node.test_takeover import kill_program, start_and_leave

# A file stands for the process: it names the version of the release that was last restarted for good.
RESTART = "echo $RELEASE_VERSION >../../running"
ASK = "cat ../../running"


def switch(node: NodeLab, command: str, *, restart: str = "true", seconds: int = 1, fence: int = 2) -> Switch:
    """1.0.0 runs; to 1.1.0."""
    node.deploy("1.0.0", fence=1, restart=RESTART)
    return node.deploy(
        "1.1.0", fence=fence, restart=restart, version_command=command, version_timeout_seconds=seconds, keep=["1.0.0"]
    )


def test_a_process_that_stays_in_the_release_before_is_found_out_and_the_link_goes_back(node: NodeLab) -> None:
    restart = "echo $RELEASE_VERSION >>../../restarts"
    switched = switch(node, ASK, restart=restart)
    assert (switched.outcome, switched.said, switched.reverted) == ("version_mismatch", "1.0.0", True)
    assert (switched.restart_exit, switched.back, switched.back_exit) == (0, "restarted", 0)
    assert (node.current, node.releases()) == ("releases/1.0.0", ["1.0.0", "1.1.0"])
    assert node.seen.steps()[-4:] == ["switch", "restart", "verify", "revert"]
    assert (node.root / "restarts").read_text().split() == ["1.1.0", "1.0.0"]
    staged = node.stage("1.1.0", fence=3)  # the next claim has it on record
    last = staged.state.last
    assert last is not None
    assert (last.outcome, last.said, last.reverted) == ("version_mismatch", "1.0.0", True)


def test_it_is_asked_until_it_says_the_new_version(node: NodeLab) -> None:
    restart = f"(sleep 1.2; {RESTART}) >/dev/null 2>&1 &"
    begun = time.monotonic()
    switched = switch(node, f"echo x >>../../asked; {ASK}", restart=restart, seconds=20)
    assert (switched.outcome, switched.reverted, switched.said) == ("switched", False, "")
    assert 2 <= len((node.root / "asked").read_text().split()) <= 5
    assert time.monotonic() - begun < 8
    assert (node.current, node.seen.steps()[-1]) == ("releases/1.1.0", "verify")


@pytest.mark.parametrize(
    "command",
    [
        'printf "%s" "$RELEASE_VERSION"',
        r'printf "\t %s \r\nand more\n" "$RELEASE_VERSION"',
        "[ $RELEASE_PREVIOUS_VERSION = 1.0.0 ] && [ $RELEASE_PORT = 8080 ] && [ -z ${RELEASE_COMMAND+x} ] && cat VERSION; exit 3",
        "echo a warning >&2; yes warned | head -c 1000000 >&2; echo $RELEASE_VERSION; yes | head -c 1000000",
        "setsid sleep 5 & sleep 5 & echo $RELEASE_VERSION",
        "exec echo $RELEASE_VERSION",
    ],
    ids=["no newline", "spaces", "folder and environment", "much more", "left running", "exec"],
)
def test_its_first_line_alone_counts(lab: NodeLab, command: str) -> None:
    begun = time.monotonic()
    assert switch(lab, command, seconds=10).outcome == "switched"
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo; echo $RELEASE_VERSION", ""),
        ("echo $RELEASE_VERSION.1", "1.1.0.1"),
        ("echo connection refused >&2; exit 7", "connection refused"),
        (r"printf '\033[1m*\036\001 ok  so\n'", "[1m* ok  so"),
        ("yes | tr -d '\\n'", f"{'y' * 299}…"),
        ("cat /dev/zero", ""),
        ("sleep 30 & echo $! >>../../pids; trap '' TERM; (trap '' TERM; sleep 31) & echo $! >>../../pids; wait", ""),
        ("kill -9 0", ""),
        ("echo 1.0.0; kill -9 0", ""),
    ],
    ids=["second line", "longer", "stderr", "control", "endless", "zeros", "hangs", "suicide", "said, then suicide"],
)
def test_what_it_says_instead_is_told_and_nothing_of_it_is_left(lab: NodeLab, command: str, said: str) -> None:
    switched = switch(lab, command)
    assert (switched.outcome, switched.reverted) == ("version_mismatch", True)
    assert switched.said == said
    pids = lab.root / "pids"
    assert not pids.exists() or all(is_gone(int(pid)) for pid in pids.read_text().split())


def test_without_a_restart_command_it_is_asked_all_the_same(lab: NodeLab) -> None:
    switched = switch(lab, ASK, restart="")
    assert (switched.outcome, switched.restart_exit, switched.reverted) == ("version_mismatch", None, True)
    assert (switched.back, switched.has_way_back_failed, lab.current) == ("", False, "releases/1.0.0")


def test_without_a_release_before_there_is_nothing_to_go_back_to(lab: NodeLab) -> None:
    switched = lab.deploy("1.0.0", fence=1, version_command="echo none", version_timeout_seconds=1)
    assert (switched.outcome, switched.said, switched.reverted) == ("version_mismatch", "none", False)
    assert lab.current == "releases/1.0.0"


def test_a_restart_that_failed_is_not_asked(lab: NodeLab) -> None:
    switched = switch(lab, "touch ../../asked", restart="[ $RELEASE_VERSION = 1.0.0 ]")
    assert (switched.outcome, (lab.root / "asked").exists()) == ("restart_failed", False)


def test_an_abort_ends_it_and_the_way_back_follows(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)

    async def main(transport: Transport) -> Switch:
        options = {"version_command": "touch ../../asked; sleep 60", "version_timeout_seconds": 120}
        task = asyncio.create_task(node.switch_on(transport, "1.1.0", fence=2, restart="true", **options))
        while not (node.root / "asked").exists():
            await asyncio.sleep(0.02)
        await node.session(transport, 2).abort()
        return await task

    begun = time.monotonic()
    switched = node.within(main)
    assert time.monotonic() - begun < 5
    assert (switched.outcome, switched.was_stopped, switched.has_restarted) == ("restart_failed", True, True)
    assert (switched.reverted, switched.said, node.current) == (True, "", "releases/1.0.0")


def left_in_its_middle(node: NodeLab, command: str, seconds: int) -> int:
    """1.0.0 runs; whoever switches to 1.1.0 goes away while its version is asked for. Returns the command's process."""
    node.deploy("1.0.0", fence=1, restart=RESTART)
    node.stage("1.1.0", fence=2)
    pid: Path = node.root / "pid"
    options = {"version_command": f"echo $$ >../../pid; {command}", "version_timeout_seconds": seconds}
    start_and_leave(
        node,
        lambda transport: node.switch_on(transport, "1.1.0", fence=2, restart="true", **options),
        until=lambda: pid.exists() and pid.read_text() != "",
    )
    return int(wait_for(pid))


def test_the_node_goes_back_by_itself_when_nobody_listens_any_more(node: NodeLab) -> None:
    left_in_its_middle(node, ASK, 1)
    switched = node.switch("1.0.0", fence=3, restart=RESTART)  # waits for the older claim
    assert (switched.outcome, switched.previous) == ("switched", "1.0.0")
    assert [line[1:3] for line in node.log_lines()][1:3] == [["1.0.0", "1.1.0"], ["1.1.0", "1.0.0"]]


def test_when_its_program_is_killed_the_next_claim_ends_the_command_and_finds_the_switch_broken_off(
    node: NodeLab,
) -> None:
    pid = left_in_its_middle(node, "sleep 60", 60)
    kill_program(node, 2)
    assert psutil.pid_exists(pid)
    last = node.stage("1.1.0", fence=3).state.last
    assert last is not None
    assert (last.fence, last.phase, last.outcome) == (2, "switched", "unfinished")
    assert is_gone(pid)
