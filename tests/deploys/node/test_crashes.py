"""The node program killed before or after each tool it calls, and held where it hurts most."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deploys.node.answers import ELSEWHERE, Staged
from deploys.node.session import NodeError, StaleFence
from inventory.nodes.transports.base import ConnectionLost, Transport
from tests.deploys.node.node_lab import MTIME, NodeLab
from tests.deploys.node.test_delta import stage_new, stage_old, tree
from tests.deploys.node.test_restart import is_gone
from tests.deploys.node.test_takeover import program_of
from tests.support.foreign_trees import linked_build

FAILS_FOR_OURS = '[ "$RELEASE_VERSION" != 1.0.0 ]'
TOOLS = ("cat", "date", "du", "ln", "mkdir", "mkfifo", "mv", "rm", "sha256sum", "sync", "tar", "timeout")

CRASH = """\
#!/bin/sh
echo {tool} >>'{folder}/calls'
is_last=0 wanted=
[ ! -e '{folder}/crash-at' ] || read -r wanted <'{folder}/crash-at'
[ -z "$wanted" ] || [ "$(wc -l <'{folder}/calls')" -lt "$wanted" ] || is_last=1
read -r _ _ _ _ group _ </proc/self/stat
if [ $is_last = 1 ] && [ -e '{folder}/before' ]; then kill -s KILL -- "-$group"; fi
if [ $is_last = 0 ]; then exec '{real}' "$@"; fi
'{real}' "$@"
kill -s KILL -- "-$group"
"""

HOLD = """\
#!/bin/sh
case "$*" in *"{word}")
	if [ -e '{folder}/hold' ]; then
		: >'{folder}/reached'
		while [ -e '{folder}/hold' ]; do sleep 0.02; done
	fi ;;
esac
exec '{real}' "$@"
"""


REMOVE = """\
#!/bin/sh
rm -rf "$(readlink '{folder}/folder')"
exec '{real}' "$@"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools that come before the real ones."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def install(tools: Path, tool: str, script: str, **words: str) -> None:
    path = os.environ["PATH"].partition(":")[2]
    real = shutil.which(tool, path=path)
    (tools / tool).write_text(script.format(tool=tool, folder=tools, real=real, **words))
    (tools / tool).chmod(0o755)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_tool_the_node_runs_old_or_new_and_the_next_claim_goes_on(
    lab: NodeLab, tools: Path, when: str
) -> None:
    lab.deploy("1.0.0", fence=1, keep=["1.0.0"])

    def deploy(number: int) -> None:
        lab.deploy("1.1.0", fence=1 + 10 * number, restart="true", keep=["1.0.0"])

    for number, where in crashed_at_each_tool(deploy, tools, when):
        check_and_go_back(lab, fence=1 + 10 * number, where=where)


def crashed_at_each_tool(
    call: Callable[[int], None], tools: Path, when: str, *, names: Sequence[str] = TOOLS
) -> Iterator[tuple[int, str]]:
    """call(1) is killed at the first tool that it calls, call(2) at the second, until one gets through. After each: its
    number, and where it was killed. when: `before` the tool does its work, or `after`.
    """
    for tool in names:
        install(tools, tool, CRASH)
    if when == "before":
        (tools / "before").touch()
    number, has_crashed = 0, True
    while has_crashed:
        number += 1
        (tools / "calls").write_text("")
        (tools / "crash-at").write_text(f"{number}\n")
        with contextlib.suppress(ConnectionLost):
            call(number)
            has_crashed = False
        (tools / "crash-at").unlink()
        yield number, f"{when} call {number}: {(tools / 'calls').read_text().split()}"
    assert number > 12


def check_and_go_back(lab: NodeLab, *, fence: int, where: str) -> None:
    """Old or new, whole, and with a way back; then to where the next round begins."""
    state = lab.state()
    assert state.current in ("1.0.0", "1.1.0"), where
    assert (lab.root / "current" / "VERSION").read_text() == state.current, where
    assert lab.stage("1.1.0", fence=fence + 1).outcome in ("present", "installed"), where
    switched = lab.switch("1.1.0", fence=fence + 1, restart="[ $RELEASE_VERSION = 1.0.0 ]", keep=["1.0.0"])
    if state.last is not None and state.last.phase == "done" and state.last.fence == fence:
        assert switched.previous == state.current, where
    else:
        assert (switched.previous, switched.reverted) == ("1.0.0", True), where
    assert lab.deploy("1.0.0", fence=fence + 2, keep=["1.1.0"]).outcome == "switched", where
    shutil.rmtree(lab.release("1.1.0"))
    assert lab.leftovers() == [], where


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_tool_of_the_first_switch_the_link_elsewhere_is_gone_back_to(
    lab: NodeLab, tools: Path, when: str
) -> None:
    """What another tool deployed outside of the root is where `current` leads again, once the next claim has failed too."""
    led = str(linked_build(lab.root, lab.root.parent / "builds" / "42"))

    def deploy(number: int) -> None:
        lab.deploy("1.0.0", fence=1 + 2 * number, restart=FAILS_FOR_OURS)

    for number, where in crashed_at_each_tool(deploy, tools, when):
        assert lab.current == led or (lab.current == "releases/1.0.0" and lab.release("1.0.0").is_dir()), where
        switch = lab.deploy("1.0.0", fence=2 + 2 * number, restart=FAILS_FOR_OURS)
        assert (switch.previous, switch.reverted, switch.before) == (ELSEWHERE, True, led), where
        assert (lab.current, (Path(led) / "VERSION").read_text()) == (led, "theirs"), where
        shutil.rmtree(lab.release("1.0.0"))
        shutil.rmtree(lab.root / ".release")


def test_killed_at_any_tool_while_it_makes_a_release_of_another_one(lab: NodeLab, tools: Path) -> None:
    """There is nothing, or all of it; the next claim makes it."""
    later = MTIME + 60
    stage_old(lab)
    stage_new(lab, mtime=later)
    wanted = tree(lab.release("1.1.0"))

    def forget() -> None:
        shutil.rmtree(lab.release("1.1.0"))
        shutil.rmtree(lab.root / ".release/seals/1.1.0")

    forget()
    calls = crashed_at_each_tool(
        lambda number: check_made(stage_new(lab, fence=2 * number + 1, mtime=later)),
        tools,
        "before",
        names=(*TOOLS, "b2sum", "comm", "cp", "sort", "touch", "xargs"),
    )
    for number, where in calls:
        if "1.1.0" in lab.releases():
            assert tree(lab.release("1.1.0")) == wanted, where
        check_made(stage_new(lab, fence=2 * number + 2, mtime=later))
        assert tree(lab.release("1.1.0")) == wanted, where
        forget()
        assert lab.leftovers() == [], where
        assert lab.releases() == ["1.0.0"], where


def check_made(staged: Staged) -> None:
    assert staged.outcome in ("present", "installed")


@pytest.mark.parametrize("word", ["current", "releases/1.1.0"])
def test_a_program_held_right_before_it_makes_something_visible_comes_too_late(
    lab: NodeLab, tools: Path, word: str
) -> None:
    """FAULTS.md row 2 at its worst: paused between its last look and its rename, and not to be found by the newer."""
    lab.deploy("1.0.0", fence=1)
    if word == "current":
        lab.stage("1.1.0", fence=2)
    install(tools, "mv", HOLD, word=word)
    # Not even when what it would rename is still there.
    install(tools, "rm", "#!/bin/sh\n")
    (tools / "hold").touch()

    async def main(transport: Transport) -> object:
        call = lab.switch_on if word == "current" else lab.stage_on
        task = asyncio.ensure_future(call(transport, "1.1.0", fence=2))
        while not (tools / "reached").exists():
            await asyncio.sleep(0.01)
        (lab.root / ".release" / "claim.2" / "state").write_text("owner 1 1 - 1 1\n")
        await lab.stage_on(transport, "1.0.0", fence=3)
        (tools / "hold").unlink()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return outcome

    assert isinstance(lab.within(main), StaleFence)
    assert lab.current == "releases/1.0.0"
    assert ("1.1.0" in lab.releases()) == (word == "current")


def test_our_own_folder_removed_right_before_the_link_moves_is_taken_for_no_newer_claim(
    lab: NodeLab, tools: Path
) -> None:
    lab.deploy("1.0.0", fence=1)
    lab.stage("1.1.0", fence=2)
    install(tools, "mv", REMOVE)
    (tools / "folder").symlink_to(lab.root / ".release")
    with pytest.raises(NodeError) as caught:
        lab.switch("1.1.0", fence=2)
    assert caught.value.code == "switch_failed"
    assert f"There is no {lab.root}/.release/claim.2. `current` leads to '1.0.0'." in caught.value.message


def test_a_stopped_program_is_ended_by_the_newer_claim(lab: NodeLab, tools: Path) -> None:
    lab.deploy("1.0.0", fence=1)
    install(tools, "sync", HOLD, word="release")
    (tools / "hold").touch()

    async def main(transport: Transport) -> object:
        task = asyncio.ensure_future(lab.stage_on(transport, "1.1.0", fence=2))
        while not (tools / "reached").exists():
            await asyncio.sleep(0.01)
        program = program_of(lab, 2)
        program.suspend()
        await lab.stage_on(transport, "1.0.0", fence=3)
        assert is_gone(program.pid)
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return outcome

    assert isinstance(lab.within(main), ConnectionLost)
    assert lab.releases() == ["1.0.0"]
    (tools / "hold").unlink()
    assert lab.deploy("1.1.0", fence=4).outcome == "switched"
