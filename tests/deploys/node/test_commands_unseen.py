"""The text of a command stands in no process's arguments, so that a command may look for a process by its own text."""

from __future__ import annotations

import pytest

from tests.deploys.node.node_lab import NodeLab

# Written in pieces, so that the test itself does not hold it in its arguments either.
JAR = "my-service" + ".jar"
LOOK = f"""
for each in /proc/[0-9]*; do
	if tr '\\0' ' ' <$each/cmdline 2>/dev/null | grep -q '{JAR[:-1]}[r]'; then
		tr '\\0' ' ' <$each/cmdline
		echo
	fi
done"""


@pytest.mark.parametrize("outcome", ["exit 0", "exit 1"])
def test_no_process_shows_a_restart_command(node: NodeLab, outcome: str) -> None:
    node.deploy("1.0.0", fence=1)

    switched = node.deploy("1.1.0", fence=2, restart=f": {JAR}; {LOOK}; echo looked; {outcome}")

    assert node.seen.lines() == (["looked"] if switched.outcome == "switched" else ["looked", "looked"])


def test_no_process_shows_a_command_before_the_switch(node: NodeLab) -> None:
    node.stage("1.0.0", fence=1)

    node.within(
        lambda transport: node.session(transport, 1).before_switch(
            release="1.0.0", command=f": {JAR}; {LOOK}; echo looked", timeout_seconds=20
        )
    )

    assert node.seen.lines() == ["looked"]


def test_a_restart_that_kills_by_its_own_text_kills_nothing_of_ours(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)

    switched = node.deploy("1.1.0", fence=2, restart=f"pkill -f {JAR}; echo started anew")

    assert switched.outcome == "switched"
    assert node.seen.lines() == ["started anew"]


def test_what_a_command_starts_has_not_its_text_in_the_environment(node: NodeLab) -> None:
    node.stage("1.0.0", fence=1)
    node.switch("1.0.0", fence=1, restart=f"env; : {JAR}")

    assert not [line for line in node.seen.lines() if JAR in line]


@pytest.mark.parametrize(
    ("command", "exit_status"),
    [("exit 3", 3), ("false", 1), ("syntax (", 2), ("# nothing", 0), ("\n\necho '\n'", 0), ("kill -TERM $$", 143)],
)
def test_a_command_ends_as_its_own_shell_would(node: NodeLab, command: str, exit_status: int) -> None:
    node.stage("1.0.0", fence=1)

    assert node.switch("1.0.0", fence=1, restart=command).restart_exit == exit_status
