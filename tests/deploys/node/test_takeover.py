"""Claims that meet: late, dead and concurrent ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from deploys.node.session import StaleFence, Switch
from inventory.nodes.transports.base import ConnectionLost, Transport
from tests.deploys.node.node_lab import NodeLab
from tests.deploys.node.test_restart import is_alive, is_gone

Call = Callable[[Transport], Awaitable[object]]


def programs_here() -> list[psutil.Process]:
    """Node programs that this process started: each leads a session of its own."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "release-node" in child.cmdline():
                found.append(child)
    return found


def start_and_leave(node: NodeLab, call: Call, *, until: Callable[[], bool]) -> None:
    """Begin a call, and go away in its middle as a dying worker does."""

    async def main(transport: Transport) -> None:
        task = asyncio.ensure_future(call(transport))
        deadline = time.monotonic() + 10
        while not until():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    node.within(main)


def program_of(node: NodeLab, fence: int) -> psutil.Process:
    state = (node.root / ".release" / f"claim.{fence}" / "state").read_text().splitlines()
    return psutil.Process(int([line for line in state if line.startswith("owner")][-1].split()[1]))


def kill_program(node: NodeLab, fence: int) -> None:
    program = program_of(node, fence)
    program.kill()
    assert is_gone(program.pid)


def killed_in_the_restart(node: NodeLab, restart: str) -> Path:
    """1.0.0 runs, and the program that switches to 1.1.0 is killed. The file into which `restart` writes its pid."""
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    pid = node.root / "pid"
    start_and_leave(
        node,
        lambda transport: node.switch_on(transport, "1.1.0", fence=2, restart=restart),
        until=lambda: pid.exists() and pid.read_text() != "",
    )
    kill_program(node, 2)
    return pid


def test_a_newer_claim_waits_for_a_switch_under_way(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    restart = "echo $RELEASE_VERSION begins >>../../order; sleep 1; echo $RELEASE_VERSION ends >>../../order"
    start_and_leave(
        node,
        lambda transport: node.switch_on(transport, "1.1.0", fence=2, restart=restart, keep=["1.0.0"]),
        until=(node.root / "order").exists,
    )
    switched = node.switch("1.0.0", fence=3, restart=restart)
    assert (switched.outcome, switched.previous) == ("switched", "1.1.0")
    order = (node.root / "order").read_text().split("\n")
    assert order == ["1.1.0 begins", "1.1.0 ends", "1.0.0 begins", "1.0.0 ends", ""]


def test_a_newer_claim_waits_for_the_way_back_too(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    restart = "echo x >>../../begun; sleep 0.5; [ $RELEASE_VERSION = 1.0.0 ]"
    start_and_leave(
        node,
        lambda transport: node.switch_on(transport, "1.1.0", fence=2, restart=restart),
        until=(node.root / "begun").exists,
    )
    staged = node.stage("1.1.0", fence=3)
    assert staged.state.current == "1.0.0"
    last = staged.state.last
    assert last is not None
    assert (last.fence, last.phase, last.reverted, last.is_alive) == (2, "done", True, False)


def test_a_newer_claim_ends_an_older_ones_staging_and_its_command(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    pid = node.root / "pid"
    start_and_leave(
        node,
        lambda transport: node.session(transport, 2).before_switch(
            release="1.1.0",
            command=f"echo $$ >'{node.root.name}' 2>/dev/null; echo $$ >../../pid; sleep 60; true",
            timeout_seconds=90,
        ),
        until=lambda: pid.exists() and pid.read_text() != "",
    )
    begun = time.monotonic()
    assert node.switch("1.0.0", fence=3).outcome == "switched"
    assert time.monotonic() - begun < 3
    assert is_gone(int(pid.read_text()))


def test_what_a_killed_programs_restart_left_is_ended_before_the_next_begins(node: NodeLab) -> None:
    pid = killed_in_the_restart(node, "echo $$ >../../pid; sleep 60; true")
    last = node.state().last
    assert last is not None
    assert (last.fence, last.phase, last.is_alive, last.previous) == (2, "switched", False, "1.0.0")
    switched = node.switch("1.1.0", fence=3, restart="true")
    assert (switched.outcome, switched.previous) == ("switched", "1.0.0")
    assert is_gone(int(pid.read_text()))


def test_after_a_half_done_switch_the_way_back_leads_to_the_last_good_release(node: NodeLab) -> None:
    killed_in_the_restart(node, "echo $$ >../../pid; sleep 60")
    for fence in (3, 4, 5):
        node.stage("1.1.0", fence=fence)
    switched = node.switch("1.1.0", fence=6, restart="[ $RELEASE_VERSION = 1.0.0 ]")
    assert (switched.previous, switched.reverted, node.current) == ("1.0.0", True, "releases/1.0.0")


@pytest.mark.parametrize("milliseconds", (2, 9, 17, 30))
def test_a_program_killed_anywhere_leaves_old_or_new_and_the_next_claim_goes_on(
    lab: NodeLab, milliseconds: int
) -> None:
    lab.deploy("1.0.0", fence=1)
    kill_after(lab, milliseconds)
    state = lab.state()
    assert state.current in ("1.0.0", "1.1.0")
    assert state.sha256
    assert (lab.root / "current" / "VERSION").read_text() == state.current
    assert lab.stage("1.1.0", fence=3).outcome in ("present", "installed")
    # On a fast machine the switch may be done by then: 1.1.0 was restarted soundly, and is what came before.
    was_done = state.last is not None and (state.last.fence, state.last.phase) == (2, "done")
    switched = lab.switch("1.1.0", fence=3, restart="[ $RELEASE_VERSION = 1.0.0 ]")
    before = ("1.1.0", False) if was_done else ("1.0.0", True)
    assert (switched.outcome, switched.previous, switched.reverted) == ("restart_failed", *before)
    assert lab.deploy("1.1.0", fence=4, restart="true").outcome == "switched"
    assert lab.leftovers() == []


def kill_after(lab: NodeLab, milliseconds: int) -> None:
    """Stage and switch 1.1.0 with fence 2, and kill whatever of it runs after so many milliseconds."""

    async def main(transport: Transport) -> None:
        async def work() -> None:
            await lab.stage_on(transport, "1.1.0", fence=2)
            await lab.switch_on(transport, "1.1.0", fence=2, restart="true")

        task = asyncio.ensure_future(work())
        await asyncio.sleep(milliseconds / 1000)
        for program in programs_here():
            os.killpg(program.pid, signal.SIGKILL)
        await asyncio.gather(task, return_exceptions=True)

    lab.within(main)


@pytest.mark.parametrize("attempt", range(6))
def test_of_claims_that_race_none_switches_after_a_higher_one(lab: NodeLab, attempt: int) -> None:
    lab.deploy("1.0.0", fence=1)
    lab.deploy("1.1.0", fence=2, keep=["1.0.0"])
    fences = range(3, 15)
    alone = "echo $$ >>../../running; [ $(wc -l <../../running) = 1 ] || echo overlap"

    async def main(transport: Transport) -> list[object]:
        return await asyncio.gather(
            *(
                lab.switch_on(
                    transport, f"1.{fence % 2}.0", fence=fence, operation=f"op-{fence}", keep=["1.0.0", "1.1.0"],
                    restart=f"{alone}; sleep 0.02; rm ../../running",
                )
                for fence in fences
            ),
            return_exceptions=True,
        )  # fmt: skip

    outcomes = lab.within(main)
    winners = [fence for fence, outcome in zip(fences, outcomes, strict=True) if isinstance(outcome, Switch)]
    assert winners[-1] == fences[-1]
    assert all(isinstance(outcome, (Switch, StaleFence, ConnectionLost)) for outcome in outcomes), outcomes
    switched = [int(line[3][3:]) for line in lab.log_lines() if line[3] != "op-1"]
    assert switched == sorted(switched)
    assert lab.seen.lines() == []
    assert lab.current == f"releases/1.{fences[-1] % 2}.0"


def test_many_claims_of_which_only_the_highest_may_stage(lab: NodeLab) -> None:
    lab.deploy("1.0.0", fence=1)

    async def main(transport: Transport) -> list[object]:
        artifact = lab.artifact("1.1.0")
        return await asyncio.gather(
            *(lab.stage_on(transport, "1.1.0", fence=fence, artifact=artifact) for fence in range(2, 14)),
            return_exceptions=True,
        )

    outcomes = lab.within(main)
    assert not isinstance(outcomes[-1], BaseException), outcomes[-1]
    assert (lab.release("1.1.0") / "VERSION").read_bytes() == b"1.1.0"
    assert lab.stage("1.1.0", fence=20).outcome == "present"
    assert lab.leftovers() == []


def test_a_reused_process_number_is_not_killed(lab: NodeLab) -> None:
    """The record names this very test's process, but another start time."""
    lab.deploy("1.0.0", fence=1)
    state = lab.root / ".release" / "claim.1" / "state"
    with state.open("a") as file:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        file.write(f"owner {os.getpid()} 1 {boot} {os.getpgrp()} 60\ncommand {os.getpid()} 1\n")
    assert lab.deploy("1.1.0", fence=2).outcome == "switched"
    assert is_alive(os.getpid())


def test_a_record_from_before_a_reboot_is_of_the_dead(lab: NodeLab) -> None:
    lab.deploy("1.0.0", fence=1)
    own = psutil.Process()
    start = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    state = lab.root / ".release" / "claim.1" / "state"
    with state.open("a") as file:
        file.write(f"owner {own.pid} {start} another-boot {os.getpgrp()} 60\n")
    assert lab.deploy("1.1.0", fence=2).outcome == "switched"
