"""The first switch in a deploy root that another tool deployed to: what was there before, and the way back to it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from deploys.node.answers import ELSEWHERE
from deploys.node.session import NodeError
from inventory.nodes.state import Reading
from tests.deploys.node.node_lab import NodeLab
from tests.deploys.node.test_takeover import kill_program, start_and_leave
from tests.support.foreign_trees import capistrano, contents, deployer, linked_build, shared_with_the_login

Tree = Callable[[Path], object]


def build_elsewhere(root: Path) -> str:
    return str(linked_build(root, root.parent / "builds" / "42 %d"))


def relative_build(root: Path) -> str:
    linked_build(root, root.parent / "builds" / "42")
    (root / "current").unlink()
    (root / "current").symlink_to("../builds/42")
    return "../builds/42"


def adopted(node: NodeLab, tree: Tree) -> str:
    """What `current` leads to."""
    led = str(tree(node.root))
    shared_with_the_login(node.root)
    return led


@pytest.mark.parametrize("tree", [capistrano, deployer])
def test_a_first_deploy_that_fails_goes_back_to_the_release_found_there(node: NodeLab, tree: Tree) -> None:
    found = adopted(node, tree)
    theirs = contents(node.root)
    node.stage("1.0.0", fence=1)
    restart = 'echo "$RELEASE_VERSION after $RELEASE_PREVIOUS_VERSION"; [ -e REVISION ] || [ "$RELEASE_VERSION" = 3 ]'
    switch = node.switch("1.0.0", fence=1, restart=restart)
    assert (switch.outcome, switch.previous, switch.reverted) == ("restart_failed", found, True)
    assert (node.root / "current").resolve() == node.release(found).resolve()
    assert node.seen.lines() == [f"1.0.0 after {found}", f"{found} after 1.0.0"]
    assert [line[1:3] for line in node.log_lines()] == [[found, "1.0.0"], ["1.0.0", found]]
    left = contents(node.root)
    assert all(left[name] == theirs[name] for name in theirs if name != "current")


@pytest.mark.parametrize("tree", [build_elsewhere, relative_build])
def test_a_first_deploy_that_fails_goes_back_to_where_current_led(node: NodeLab, tree: Tree) -> None:
    led = adopted(node, tree)
    node.stage("1.0.0", fence=1)
    restart = 'pwd -P; [ "$RELEASE_VERSION" != 1.0.0 ]'
    switch = node.switch("1.0.0", fence=1, restart=restart)
    assert (switch.outcome, switch.previous, switch.reverted) == ("restart_failed", ELSEWHERE, True)
    assert switch.before == led
    assert os.readlink(node.root / "current") == led
    assert node.seen.lines()[1] == os.path.realpath(node.root / "current")
    word = led.replace(" ", "?").replace("%", "?")
    assert [line[1:3] for line in node.log_lines()] == [[word, "1.0.0"], ["1.0.0", word]]
    # The same once more, and one that is good: what was there stays.
    assert node.switch("1.0.0", fence=2, restart=restart).reverted is True
    assert node.switch("1.0.0", fence=3, restart="true").previous == ELSEWHERE
    assert (node.root / "current" / ".." / ".." / ".release" / "elsewhere").readlink() == Path(led)
    assert (node.root / led / "VERSION").read_text() == "theirs"


def test_a_switch_killed_in_its_restart_is_gone_back_from_by_the_next(node: NodeLab) -> None:
    led = adopted(node, build_elsewhere)
    node.stage("1.0.0", fence=1)
    begun = node.release("1.0.0") / "begun"
    start_and_leave(
        node,
        lambda transport: node.switch_on(transport, "1.0.0", fence=1, restart="echo $$ >begun; sleep 60; true"),
        until=begun.exists,
    )
    kill_program(node, 1)
    last = node.state().last
    assert last is not None
    assert (last.phase, last.previous) == ("switched", ELSEWHERE)
    for fence in (2, 3):
        node.stage("1.0.0", fence=fence)
    switch = node.switch("1.0.0", fence=4, restart='[ "$RELEASE_VERSION" != 1.0.0 ]')
    assert (switch.previous, switch.reverted, switch.before) == (ELSEWHERE, True, led)
    assert os.readlink(node.root / "current") == led


def test_what_current_led_to_may_be_gone_by_then(lab: NodeLab) -> None:
    led = adopted(lab, build_elsewhere)
    lab.stage("1.0.0", fence=1)
    switch = lab.switch("1.0.0", fence=1, restart=f"mv {shlex.quote(led)} ../../away; false")
    assert (switch.previous, switch.back, switch.reverted) == (ELSEWHERE, "gone", False)
    assert lab.current == "releases/1.0.0"


def test_a_link_to_nothing_is_named_and_not_gone_back_to(lab: NodeLab) -> None:
    lab.root.mkdir(parents=True)
    (lab.root / "current").symlink_to("nowhere")
    lab.stage("1.0.0", fence=1)
    switch = lab.switch("1.0.0", fence=1, restart="false")
    assert (switch.previous, switch.reverted, lab.current) == ("", False, "releases/1.0.0")
    assert lab.log_lines()[-1][1] == "nowhere"


@pytest.mark.parametrize("tree", [build_elsewhere, relative_build])
def test_a_reading_names_where_current_leads(node: NodeLab, tree: Tree) -> None:
    led = adopted(node, tree)
    read = node.readings(str(node.root), str(node.root / "not there"), str(node.root))
    elsewhere = Reading(elsewhere=led, problem=f"`current` leads to no release of ours, but to {led}")
    assert read == [elsewhere, Reading(), elsewhere]


def test_a_current_that_is_no_link_is_refused_and_stays(node: NodeLab) -> None:
    (node.root / "current").mkdir(parents=True)
    (node.root / "current" / "app").write_text("theirs")
    shared_with_the_login(node.root)
    node.stage("1.0.0", fence=1)
    with pytest.raises(NodeError, match="current is a folder, not our link to a release"):
        node.switch("1.0.0", fence=1, restart="false")
    assert (node.root / "current" / "app").read_text() == "theirs"
