"""A switch that waits on the node to be confirmed, and goes back by itself."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from deploys.error_codes import ErrorCode
from deploys.node.calls import CONFIRMED, NOT_CONFIRMED, TAKEN_BACK
from deploys.node.session import NodeError, StaleFence, Switch
from tests.deploys.node.node_lab import NodeLab
from tests.deploys.node.test_restart import is_alive, is_gone, wait_for
from tests.deploys.node.test_takeover import kill_program, program_of
from tests.support.foreign_trees import shared_with_the_login

# Says which release it starts, and when.
RESTART = "cat VERSION >>../../ran; echo >>../../ran; echo $RELEASE_VERSION after $RELEASE_PREVIOUS_VERSION"


def waiting(node: NodeLab, *, seconds: int = 60, restart: str = RESTART, **changed: object) -> Switch:
    """1.0.0 ran, and claim 2's switch to 1.1.0 waits to be confirmed."""
    node.deploy("1.0.0", fence=1)
    switch = node.deploy("1.1.0", fence=2, restart=restart, confirm_within_seconds=seconds, **changed)
    assert (switch.outcome, switch.is_waiting, switch.previous) == ("confirming", True, "1.0.0")
    return switch


def wait_until_current(node: NodeLab, version: str, *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while node.current != f"releases/{version}":
        assert time.monotonic() < deadline, node.current
        time.sleep(0.01)


def wait_until_done(node: NodeLab) -> Switch:
    deadline = time.monotonic() + 10
    while (last := node.state().last) is None or last.phase != "done":
        assert time.monotonic() < deadline, last
    return last


def pretend_a_reboot(node: NodeLab, fence: int) -> None:
    """The program is gone, and the record is of another boot."""
    record = node.root / ".release" / f"claim.{fence}" / "state"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kill_program(node, fence)
    record.write_text(record.read_text().replace(boot, "00000000-0000-4000-8000-000000000000"))


def test_it_answers_after_the_restart_and_waits_on_alone(node: NodeLab) -> None:
    switch = waiting(node)
    assert 58 <= switch.seconds_left <= 60
    assert node.seen.steps()[-3:] == ["switch", "restart", "confirm"]
    last = node.state().last
    assert last is not None and last.is_waiting and 50 < last.seconds_left <= 60
    # What it costs the node meanwhile: one shell and one `sleep`.
    program = program_of(node, 2)
    assert [child.name() for child in program.children(recursive=True)] == ["sleep"]
    program.kill()


def test_unconfirmed_it_goes_back_in_time_and_restarts_the_old_release(node: NodeLab) -> None:
    waiting(node, seconds=2)
    began = time.monotonic()
    wait_until_current(node, "1.0.0")
    assert 1 <= time.monotonic() - began <= 3
    last = wait_until_done(node)
    assert (last.outcome, last.not_confirmed, last.reverted, last.back) == ("unconfirmed", True, True, "restarted")
    assert (node.root / "ran").read_text().split() == ["1.1.0", "1.0.0"]
    assert [line[1:3] for line in node.log_lines()] == [["-", "1.0.0"], ["1.0.0", "1.1.0"], ["1.1.0", "1.0.0"]]
    assert node.leftovers() == []


def test_the_way_back_restarts_with_its_signals_as_they_were(node: NodeLab) -> None:
    """What a shell starts in the background has SIGINT ignored for good."""
    waiting(node, seconds=1, restart="grep SigIgn /proc/self/status >../../$RELEASE_VERSION.signals")
    wait_until_done(node)
    assert (node.root / "1.0.0.signals").read_text() == (node.root / "1.1.0.signals").read_text()


def test_without_a_restart_command_the_link_alone_goes_back(node: NodeLab) -> None:
    waiting(node, seconds=1, restart="")
    last = wait_until_done(node)
    assert (last.reverted, last.back, last.has_way_back_failed) == (True, "", False)
    assert node.current == "releases/1.0.0"


def test_confirmed_it_stays_and_is_cleaned_up_after(node: NodeLab) -> None:
    node.deploy("0.9.0", fence=1)
    waiting(node)
    assert node.releases() == ["0.9.0", "1.0.0", "1.1.0"]
    program = program_of(node, 2)
    last = node.conclude(CONFIRMED, fence=3, restart=RESTART).last
    assert last is not None
    assert (last.outcome, last.release, last.previous, last.fence) == ("switched", "1.1.0", "1.0.0", 3)
    assert node.current == "releases/1.1.0" and node.releases() == ["1.0.0", "1.1.0"]
    assert is_gone(program.pid)
    assert (node.root / "ran").read_text().split() == ["1.1.0"]
    assert node.leftovers() == []


def test_a_daemon_that_holds_the_commands_output_outlives_the_confirmation(node: NodeLab) -> None:
    waiting(node, restart="while :; do echo still here; sleep 0.05; done & echo $! >../../daemon")
    node.conclude(CONFIRMED, fence=3)
    daemon = int(wait_for(node.root / "daemon"))
    time.sleep(0.3)
    assert is_alive(daemon)
    psutil.Process(daemon).kill()


@pytest.mark.parametrize(("decision", "fact"), [(NOT_CONFIRMED, "not_confirmed"), (TAKEN_BACK, "taken_back")])
def test_taken_back_before_its_time_it_goes_back_at_once(node: NodeLab, decision: str, fact: str) -> None:
    waiting(node)
    last = node.conclude(decision, fence=3, restart=RESTART).last
    assert last is not None and getattr(last, fact)
    assert (last.outcome, last.reverted, last.back) == ("unconfirmed", True, "restarted")
    assert node.current == "releases/1.0.0"
    assert node.seen.lines()[-1] == "1.0.0 after 1.1.0"


def test_what_has_gone_back_can_not_be_confirmed(node: NodeLab) -> None:
    waiting(node, seconds=1)
    wait_until_done(node)
    last = node.conclude(CONFIRMED, fence=3, restart=RESTART).last
    assert last is not None and (last.outcome, last.fence, last.reverted) == ("unconfirmed", 2, True)
    assert node.current == "releases/1.0.0"


def test_in_the_middle_of_its_way_back_it_is_waited_for(node: NodeLab) -> None:
    waiting(node, seconds=1, restart="[ $RELEASE_VERSION = 1.1.0 ] || sleep 1")
    wait_until_current(node, "1.0.0")
    last = node.conclude(CONFIRMED, fence=3).last
    assert last is not None and (last.outcome, last.back_exit, last.fence) == ("unconfirmed", 0, 2)


def test_killed_on_the_node_it_is_gone_back_from_when_its_time_is_over(node: NodeLab) -> None:
    waiting(node, seconds=1)
    kill_program(node, 2)
    time.sleep(1.1)
    last = node.state().last
    assert last is not None and (last.phase, last.is_waiting, last.seconds_left) == ("confirming", False, 0)
    assert node.current == "releases/1.1.0"
    last = node.conclude(CONFIRMED, fence=3, restart=RESTART).last
    assert last is not None and (last.outcome, last.reverted) == ("unconfirmed", True)
    assert node.current == "releases/1.0.0"


def test_killed_on_the_node_it_may_be_confirmed_in_time(node: NodeLab) -> None:
    waiting(node)
    kill_program(node, 2)
    last = node.conclude(CONFIRMED, fence=3).last
    assert last is not None and last.outcome == "switched"
    assert node.current == "releases/1.1.0"


def test_after_a_reboot_nobody_knows_its_time_and_it_is_gone_back_from(node: NodeLab) -> None:
    waiting(node)
    pretend_a_reboot(node, 2)
    last = node.state().last
    assert last is not None and (last.is_waiting, last.seconds_left) == (False, 0)
    last = node.conclude(CONFIRMED, fence=3, restart=RESTART).last
    assert last is not None and (last.outcome, last.reverted) == ("unconfirmed", True)
    assert node.current == "releases/1.0.0"


def test_a_way_back_that_broke_off_is_gone_on_with(node: NodeLab) -> None:
    waiting(node, seconds=1, restart=f"{RESTART}; [ $RELEASE_VERSION = 1.1.0 ] || {{ echo >../../hangs; sleep 60; }}")
    wait_for(node.root / "hangs")
    kill_program(node, 2)
    last = node.conclude(CONFIRMED, fence=3, restart=RESTART).last
    assert last is not None and (last.outcome, last.reverted, last.back_exit) == ("unconfirmed", True, 0)
    assert (node.root / "ran").read_text().split() == ["1.1.0", "1.0.0", "1.0.0"]
    assert node.current == "releases/1.0.0"


def test_who_only_stages_lets_it_wait_and_the_next_switch_ends_it(node: NodeLab) -> None:
    waiting(node, seconds=60)
    program = program_of(node, 2)
    staged = node.stage("1.2.0", fence=3)
    assert staged.state.last is not None and staged.state.last.is_waiting
    assert is_alive(program.pid)
    assert node.stage("1.2.0", fence=4).state.last is not None and is_alive(program.pid)
    switch = node.switch("1.2.0", fence=4, restart="[ $RELEASE_VERSION != 1.2.0 ]", keep=["1.0.0"])
    assert is_gone(program.pid)
    # The one before was never confirmed.
    assert (switch.outcome, switch.previous, switch.reverted) == ("restart_failed", "1.0.0", True)
    assert node.current == "releases/1.0.0"
    node.stage("1.2.0", fence=5)
    assert node.leftovers() == []


def test_it_goes_back_though_a_newer_claim_has_staged(node: NodeLab) -> None:
    waiting(node, seconds=1)
    node.stage("1.2.0", fence=3)
    assert node.current == "releases/1.1.0"
    wait_until_current(node, "1.0.0")
    last = wait_until_done(node)
    assert (last.outcome, last.fence, last.reverted) == ("unconfirmed", 2, True)
    switch = node.switch("1.2.0", fence=3)
    assert (switch.outcome, switch.previous) == ("switched", "1.0.0")


def test_what_others_have_linked_meanwhile_stays(node: NodeLab) -> None:
    waiting(node, seconds=1)
    (node.root / "current").unlink()
    (node.root / "current").symlink_to("/usr")
    last = wait_until_done(node)
    assert (last.outcome, last.reverted, last.back) == ("unconfirmed", False, "unlinked")
    assert node.current == "/usr"


@pytest.mark.parametrize("again", [False, True])
def test_with_nothing_to_go_back_to_nothing_is_switched(node: NodeLab, again: bool) -> None:
    if again:
        node.deploy("1.0.0", fence=1)
    node.stage("1.0.0", fence=2)
    with pytest.raises(NodeError) as refused:
        node.switch("1.0.0", fence=2, restart="touch ../../ran", confirm_within_seconds=60)
    assert refused.value.code == ErrorCode.SWITCH_FAILED
    assert "nothing to go back to" in refused.value.message
    assert node.current == ("releases/1.0.0" if again else "") and not (node.root / "ran").exists()


def test_what_another_tool_had_linked_is_gone_back_to(node: NodeLab) -> None:
    old = node.root / "checkout"
    old.mkdir(parents=True)
    (node.root / "current").symlink_to(old)
    shared_with_the_login(node.root)
    switch = node.deploy("1.0.0", fence=1, confirm_within_seconds=1)
    assert switch.is_waiting and switch.found_elsewhere == str(old)
    last = wait_until_done(node)
    assert (last.outcome, last.reverted, last.found_elsewhere) == ("unconfirmed", True, str(old))
    assert node.current == str(old)


def test_a_late_claim_can_not_conclude_it(node: NodeLab) -> None:
    waiting(node)
    with pytest.raises(StaleFence):
        node.conclude(TAKEN_BACK, fence=1)
    assert is_alive(program_of(node, 2).pid)
    program_of(node, 2).kill()
