"""One program for a node's whole visit: several calls one after the other, none of which reaches into the next."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from deploys.node.session import CommandOutcome, NodeError, Switch
from inventory.nodes.transports.base import ConnectionLost, RunTimeout, Transport
from inventory.nodes.transports.ssh_standby import READY_SECONDS
from tests.deploys.node.node_lab import NodeLab
from tests.deploys.node.test_takeover import program_of
from tests.support.sshd import SshServer


@pytest.fixture
def far(lab: NodeLab, own_sshd: SshServer) -> NodeLab:
    return lab.behind(own_sshd)


def sessions(sshd: SshServer) -> int:
    return sshd.log.count("Starting session")


async def prepare(node: NodeLab, transport: Transport, version: str, *, fence: int, command: str) -> CommandOutcome:
    session = node.session(transport, fence)
    return await session.before_switch(release=version, command=command, timeout_seconds=20)


def waiting_program(sshd: SshServer) -> psutil.Process:
    """The one that waits for its next call."""
    [found] = [each for each in sshd.descendants() if "release-node" in each.cmdline()]
    return found


def test_a_deploy_and_the_rollback_behind_it_take_one_session(far: NodeLab, own_sshd: SshServer) -> None:
    restart = 'echo "$RELEASE_VERSION after $RELEASE_PREVIOUS_VERSION, $(grep SigIgn /proc/self/status)"; cat'

    async def main(transport: Transport) -> None:
        for version, fence in (("1.0.0", 1), ("1.1.0", 2)):
            await far.stage_on(transport, version, fence=fence)
            assert (await prepare(far, transport, version, fence=fence, command="pwd; cat")).exit_status == 0
            await far.switch_on(transport, version, fence=fence, restart=restart)
        back = await far.switch_on(transport, "1.0.0", fence=3, restart=restart)
        assert (back.outcome, back.previous) == ("switched", "1.1.0")

    far.within(main)
    assert sessions(own_sshd) == 1
    words = [line.split(",")[0] for line in far.seen.lines()]
    folders = [str(far.release(version).resolve()) for version in ("1.0.0", "1.1.0")]
    assert words == [folders[0], "1.0.0 after ", folders[1], "1.1.0 after 1.0.0", "1.0.0 after 1.1.0"]
    ignored = {int(line.split()[-1], 16) for line in far.seen.lines() if "SigIgn" in line}
    assert [number for number in (1, 2, 3, 13, 15) for mask in ignored if mask >> (number - 1) & 1] == []
    assert far.leftovers() == []


def test_an_upload_that_nobody_read_is_not_taken_for_the_next_call(far: NodeLab, own_sshd: SshServer) -> None:
    big = far.artifact("1.1.0", {"VERSION": b"1.1.0", "big": os.urandom(3_000_000)})

    async def main(transport: Transport) -> None:
        await far.stage_on(transport, "1.1.0", fence=1, artifact=big)
        assert (await far.stage_on(transport, "1.1.0", fence=2, artifact=big)).outcome == "present"
        assert (await far.switch_on(transport, "1.1.0", fence=2)).outcome == "switched"
        (far.release("1.2.0")).mkdir()
        with pytest.raises(NodeError):
            await far.stage_on(transport, "1.2.0", fence=3, artifact=big)
        (far.release("1.2.0")).rmdir()
        assert (await far.stage_on(transport, "1.2.0", fence=4)).outcome == "installed"

    far.within(main)


def test_what_a_daemon_prints_later_is_not_the_next_calls(far: NodeLab, own_sshd: SshServer) -> None:
    daemon = "echo up; (while :; do echo chatter; sleep 0.02; done) & echo $! >../../pid"

    async def main(transport: Transport) -> None:
        await far.stage_on(transport, "1.0.0", fence=1)
        await far.switch_on(transport, "1.0.0", fence=1, restart=daemon)
        far.seen.events.clear()
        await asyncio.sleep(2 * READY_SECONDS)
        await prepare(far, transport, "1.0.0", fence=2, command="sleep 0.2; echo mine")

    try:
        far.within(main)
        assert far.seen.lines() == ["mine"]
    finally:
        os.kill(int((far.root / "pid").read_text()), signal.SIGKILL)
    assert sessions(own_sshd) == 2


@pytest.mark.parametrize("victim", ["the waiting program", "the call's program"])
def test_a_program_killed_between_or_in_calls_costs_no_more_than_its_call(
    far: NodeLab, own_sshd: SshServer, victim: str
) -> None:
    async def main(transport: Transport) -> None:
        await far.stage_on(transport, "1.0.0", fence=1)
        await asyncio.sleep(0.1)
        if victim == "the waiting program":
            waiting_program(own_sshd).kill()
        else:
            call = asyncio.ensure_future(prepare(far, transport, "1.0.0", fence=1, command="sleep 30"))
            await until(lambda: "before_switch" in far.seen.steps())
            program_of(far, 1).kill()
            with pytest.raises(ConnectionLost):
                await call
        switched = await again(lambda: far.switch_on(transport, "1.0.0", fence=2, restart="echo up"))
        assert switched.outcome == "switched"

    far.within(main)
    assert (far.current, far.seen.lines()) == ("releases/1.0.0", ["up"])
    assert sessions(own_sshd) <= 3


async def again(call: Callable[[], Awaitable[Switch]]) -> Switch:
    """As `NodeLink.try_again`, and `Steps` after it has asked for the state: a call that was lost is sent once more."""
    try:
        return await call()
    except ConnectionLost:
        return await call()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


def test_a_call_that_hangs_takes_its_program_along_and_no_other(
    far: NodeLab, own_sshd: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploys.node.session.SPARE_SECONDS", 0.5)

    async def main(transport: Transport) -> None:
        await far.stage_on(transport, "1.0.0", fence=1)
        before = waiting_program(own_sshd).pid
        session = far.session(transport, 1)
        with pytest.raises(RunTimeout):
            await session.before_switch(release="1.0.0", command="trap '' TERM; sleep 60", timeout_seconds=1)
        assert (await far.switch_on(transport, "1.0.0", fence=2)).outcome == "switched"
        assert waiting_program(own_sshd).pid != before

    far.within(main)


def test_two_roots_whose_calls_one_program_takes_stay_apart(far: NodeLab, own_sshd: SshServer, tmp_path: Path) -> None:
    """A newer claim that ends what hangs in one root's call ends nothing of the other's."""
    (tmp_path / "other").mkdir()
    other = NodeLab(root=tmp_path / "x", artifacts=tmp_path / "other").behind(own_sshd)

    async def main(transport: Transport) -> None:
        for node in (far, other):
            await node.stage_on(transport, "1.0.0", fence=1)
        hanging = asyncio.ensure_future(prepare(far, transport, "1.0.0", fence=1, command="sleep 30"))
        await until(lambda: "before_switch" in far.seen.steps())
        restart = "sleep 0.5; echo $RELEASE_ROOT"
        switching = asyncio.ensure_future(other.switch_on(transport, "1.0.0", fence=1, restart=restart))
        await until(lambda: "restart" in other.seen.steps())
        assert (await far.switch_on(transport, "1.0.0", fence=2)).outcome == "switched"
        with pytest.raises(ConnectionLost):
            await hanging
        assert (await switching).restart_exit == 0

    far.within(main)
    assert (far.current, other.current) == ("releases/1.0.0", "releases/1.0.0")


def test_a_switch_that_waits_to_be_confirmed_keeps_no_program_from_its_next_call(
    far: NodeLab, own_sshd: SshServer
) -> None:
    async def main(transport: Transport) -> None:
        for version in ("1.0.0", "1.1.0"):
            await far.stage_on(transport, version, fence=1)
        await far.switch_on(transport, "1.0.0", fence=1, keep=["1.1.0"])
        waiting = await far.switch_on(transport, "1.1.0", fence=2, confirm_within_seconds=600)
        assert waiting.is_waiting, (waiting.found, waiting.current)
        ended = await far.session(transport, 3).conclude(
            decision="1", operation="op", restart_command="", timeout_seconds=5, keep=[]
        )
        assert ended.last is not None
        assert (ended.last.phase, far.current) == ("done", "releases/1.1.0")

    far.within(main)
