"""A service's own command may change what was shipped: before the switch that counts; after it the log says so."""

from __future__ import annotations

import shutil

import pytest

from deploys.node.session import CommandOutcome
from tests.deploys.node.node_lab import NodeLab

COMMANDS = {
    "edits a file": ("echo new >VERSION", "VERSION"),
    "edits one in place": ("cp bin/run x && mv -f x bin/run", "bin/run"),
    "changes all modes": ("chmod -R g+w .", ""),
    "removes a file": ("rm empty", "empty"),
    "makes a link a file": ("rm latest && echo x >latest", "latest"),
}


def before_switch(node: NodeLab, command: str, *, fence: int = 2) -> CommandOutcome:
    return node.within(
        lambda transport: node.session(transport, fence).before_switch(
            release="1.1.0", command=command, timeout_seconds=20
        )
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_before_the_switch_leaves_is_switched_to_and_looked_for_later(lab: NodeLab, name: str) -> None:
    command, changed = COMMANDS[name]
    lab.deploy("1.0.0", fence=1)
    lab.stage("1.1.0", fence=2)

    ended = before_switch(lab, command)

    assert ended.exit_status == 0
    assert ended.changed
    assert ended.changed == (changed or ended.changed)
    assert lab.switch("1.1.0", fence=2).outcome == "switched"
    assert lab.current == "releases/1.1.0"
    lab.deploy("1.0.0", fence=3)
    assert lab.stage("1.1.0", fence=4).outcome == "present"
    assert lab.leftovers() == []
    (lab.release("1.1.0") / "bin/run").write_text("by hand")
    assert lab.switch("1.1.0", fence=5).outcome == "not_intact"


def test_a_command_that_changes_nothing_or_adds_only_leaves_the_stamp_alone(lab: NodeLab) -> None:
    lab.stage("1.1.0", fence=1)
    seal = lab.root / ".release/seals/1.1.0/seal"
    before = seal.stat()
    assert before_switch(lab, "mkdir cache; echo x >cache/y; cat VERSION").changed == ""
    assert seal.stat().st_ino == before.st_ino


def test_what_a_command_that_failed_has_changed_does_not_count(lab: NodeLab) -> None:
    lab.stage("1.1.0", fence=1)
    ended = before_switch(lab, "echo half >VERSION; exit 3")
    assert (ended.exit_status, ended.changed) == (3, "")
    staged = lab.stage("1.1.0", fence=3)
    assert (staged.outcome, staged.unfit) == ("installed", f"changed {lab.release('1.1.0')}/VERSION")
    assert (lab.release("1.1.0") / "VERSION").read_text() == "1.1.0"


def test_a_command_that_removes_the_release_is_found_out_by_the_switch(lab: NodeLab) -> None:
    lab.stage("1.1.0", fence=1)
    assert before_switch(lab, 'rm -rf "$PWD"').exit_status == 0
    switch = lab.switch("1.1.0", fence=2)
    assert (switch.outcome, switch.found) == ("not_intact", f"gone {lab.release('1.1.0')}")


def test_staging_says_why_the_release_that_is_there_is_not_taken(lab: NodeLab) -> None:
    lab.deploy("1.1.0", fence=1, restart="chmod -R g+w .")
    staged = lab.stage("1.1.0", fence=2)
    assert (staged.outcome, staged.unfit.partition(" ")[0]) == ("installed", "changed")
    assert lab.stage("1.1.0", fence=3).unfit == ""
    shutil.rmtree(lab.root / ".release/seals/1.1.0")
    assert lab.stage("1.1.0", fence=4).unfit == f"gone {lab.root}/.release/seals/1.1.0/seal"


def test_staging_says_nothing_of_what_was_not_there_or_is_not_ours(lab: NodeLab) -> None:
    assert lab.stage("1.1.0", fence=1).unfit == ""
    assert lab.stage("1.2.0", fence=2).unfit == ""
