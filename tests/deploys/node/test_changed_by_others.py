"""Somebody else has changed something on the node meanwhile: the refusal says what was found where, and what runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploys.error_codes import ErrorCode
from deploys.node.refusals import refusal
from deploys.node.session import NodeError, Waiting
from deploys.told import english
from tests.deploys.node.node_lab import NodeLab
from tests.deploys.node.test_restart import is_gone
from tests.deploys.node.test_takeover import program_of, start_and_leave

LEADS_TO_OLD = "`current` leads to '1.0.0'."
NO_CURRENT = "There is no `current`"
NO_RELEASE_OF_OURS = "`current` leads to no release of ours"


def refused(node: NodeLab, version: str = "1.1.0", *, fence: int = 2, restart: str = "") -> tuple[ErrorCode, str]:
    """(code, message) of a switch that the node refuses."""
    try:
        switch = node.switch(version, fence=fence, restart=restart)
    except NodeError as error:
        return error.code, error.message
    assert switch.outcome == "not_intact"
    assert switch.found
    code = ErrorCode.SWITCH_FAILED
    return code, english(refusal(code, "", root=str(node.root), found=switch.found, current=switch.current))


def staged(node: NodeLab) -> NodeLab:
    """1.0.0 runs, 1.1.0 is staged."""
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    return node


def remove_root(root: Path) -> None:
    shutil.rmtree(root)


def put_a_file_for_the_root(root: Path) -> None:
    root.rename(root.with_name("away"))
    root.touch()


def put_a_dead_link_for_the_root(root: Path) -> None:
    root.rename(root.with_name("away"))
    root.symlink_to("nowhere")


def rename_releases(root: Path) -> None:
    (root / "releases").rename(root / "elsewhere")


def put_a_file_for_releases(root: Path) -> None:
    rename_releases(root)
    (root / "releases").touch()


def remove_the_release(root: Path) -> None:
    shutil.rmtree(root / "releases/1.1.0")


def link_the_release(root: Path) -> None:
    (root / "releases/1.1.0").rename(root / "releases/moved")
    (root / "releases/1.1.0").symlink_to("moved")


def edit_a_file(root: Path) -> None:
    (root / "releases/1.1.0/VERSION").write_text("evil")


def remove_a_file(root: Path) -> None:
    (root / "releases/1.1.0/bin/run").unlink()


def remove_its_record(root: Path) -> None:
    (root / "releases/1.1.0/.release.json").unlink()


def edit_its_record(root: Path) -> None:
    record = root / "releases/1.1.0/.release.json"
    record.write_text(record.read_text().replace('"sha256":"', '"sha256":"0'))


def remove_our_folder(root: Path) -> None:
    shutil.rmtree(root / ".release")


def tear_the_stamp(root: Path) -> None:
    (root / ".release/seals/1.1.0/seal").write_text("sealed='")


def put_a_fifo_for(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o666)


def put_a_fifo_for_its_record(root: Path) -> None:
    put_a_fifo_for(root / "releases/1.1.0/.release.json")


def put_a_fifo_for_the_stamp(root: Path) -> None:
    put_a_fifo_for(root / ".release/seals/1.1.0/seal")


def put_a_fifo_for_the_list_of_files(root: Path) -> None:
    put_a_fifo_for(root / ".release/seals/1.1.0/files")


def put_a_folder_for_current(root: Path) -> None:
    (root / "current").unlink()
    (root / "current").mkdir()


def put_a_file_for_current(root: Path) -> None:
    (root / "current").unlink()
    (root / "current").write_text("theirs")


CHANGES = [
    (remove_root, "There is no deploy root {root}.", NO_CURRENT),
    (put_a_file_for_the_root, "{root} is not a folder", NO_CURRENT),
    (put_a_dead_link_for_the_root, "{root} is not a folder", NO_CURRENT),
    (rename_releases, "There is no {root}/releases.", NO_RELEASE_OF_OURS),
    (put_a_file_for_releases, "{root}/releases is not a folder", NO_RELEASE_OF_OURS),
    (remove_the_release, "There is no {root}/releases/1.1.0.", LEADS_TO_OLD),
    (link_the_release, "{root}/releases/1.1.0 is not a folder", LEADS_TO_OLD),
    (edit_a_file, "{root}/releases/1.1.0/VERSION was changed or removed since it was staged", LEADS_TO_OLD),
    (remove_a_file, "{root}/releases/1.1.0/bin/run was changed or removed since it was staged", LEADS_TO_OLD),
    (remove_its_record, "{root}/releases/1.1.0/.release.json was changed or removed", LEADS_TO_OLD),
    (edit_its_record, "{root}/releases/1.1.0/.release.json was changed or removed", LEADS_TO_OLD),
    (remove_our_folder, "There is no {root}/.release/seals/1.1.0/seal.", LEADS_TO_OLD),
    (tear_the_stamp, "{root}/.release/seals/1.1.0 was changed or removed", LEADS_TO_OLD),
    (put_a_fifo_for_its_record, "{root}/releases/1.1.0/.release.json was changed or removed", LEADS_TO_OLD),
    (put_a_fifo_for_the_stamp, "{root}/.release/seals/1.1.0 was changed or removed", LEADS_TO_OLD),
    (put_a_fifo_for_the_list_of_files, "{root}/.release/seals/1.1.0 was changed or removed", LEADS_TO_OLD),
    (put_a_folder_for_current, "{root}/current is a folder, not our link", NO_RELEASE_OF_OURS),
    (put_a_file_for_current, "{root}/current is a file, not our link", NO_RELEASE_OF_OURS),
]


@pytest.mark.parametrize(("change", "what", "current"), CHANGES, ids=[change[0].__name__ for change in CHANGES])
def test_a_refused_switch_says_what_was_found_and_what_current_leads_to(
    node: NodeLab, change: Callable[[Path], None], what: str, current: str
) -> None:
    change(staged(node).root)
    code, message = refused(node)
    assert code == ErrorCode.SWITCH_FAILED
    assert what.format(root=node.root) in message
    assert current in message
    assert "retry" in message
    assert not (node.root / "current").is_symlink() or node.current == "releases/1.0.0"


@pytest.mark.parametrize("change", [put_a_folder_for_current, put_a_file_for_current])
def test_what_stands_in_the_links_place_stays(node: NodeLab, change: Callable[[Path], None]) -> None:
    change(staged(node).root)
    refused(node, restart="exit 1")
    there = node.root / "current"
    assert there.is_dir() or there.read_text() == "theirs"


def test_a_root_that_is_gone_is_not_made_by_a_switch(node: NodeLab) -> None:
    remove_root(staged(node).root)
    refused(node)
    assert not node.root.exists()
    node.stage("1.1.0", fence=3)
    assert node.switch("1.1.0", fence=3).outcome == "switched"


def test_a_command_before_the_switch_is_not_blamed_for_a_release_that_is_gone(node: NodeLab) -> None:
    remove_the_release(staged(node).root)
    with pytest.raises(NodeError) as caught:
        node.within(
            lambda transport: node.session(transport, 2).before_switch(
                release="1.1.0", command="true", timeout_seconds=9
            )
        )
    assert caught.value.code == ErrorCode.SWITCH_FAILED
    assert f"There is no {node.root}/releases/1.1.0." in caught.value.message
    assert LEADS_TO_OLD in caught.value.message


@pytest.mark.parametrize("where", ["", "/deep/below"])
def test_a_file_in_the_deploy_roots_path_is_named_when_staging(node: NodeLab, where: str) -> None:
    node.root.parent.mkdir(parents=True, exist_ok=True)
    node.root.touch()
    file, node.root = node.root, Path(f"{node.root}{where}")
    with pytest.raises(NodeError) as caught:
        node.stage("1.0.0", fence=1)
    assert caught.value.code == ErrorCode.SWITCH_FAILED
    assert f"{file} is not a folder" in caught.value.message


def test_of_many_changed_files_the_first_one_is_named(lab: NodeLab) -> None:
    files = {f"data/{number:04}": b"x" for number in range(2000)}
    lab.stage("1.0.0", fence=1, artifact=lab.artifact("1.0.0", files))
    (lab.release("1.0.0") / "data/1990").write_bytes(b"changed")
    begun = time.monotonic()
    _code, message = refused(lab, "1.0.0", fence=1)
    assert f"{lab.root}/releases/1.0.0/data/1990 was changed" in message
    assert time.monotonic() - begun < 3


# What the login may not do. Over SSH, where it is not root.

ssh_alone = pytest.mark.parametrize("node", ["ssh"], indirect=True)


@ssh_alone
@pytest.mark.parametrize("closed", ["", "/releases/1.1.0"])
def test_a_folder_that_the_login_may_not_enter_is_named(node: NodeLab, closed: str) -> None:
    folder = Path(f"{staged(node).root}{closed}")
    folder.chmod(0)
    try:
        code, message = refused(node)
    finally:
        folder.chmod(0o755)
    assert str(folder) in message
    assert "may not enter" in message or code == ErrorCode.NODE_NOT_WRITABLE


@ssh_alone
def test_a_root_that_the_login_may_not_write_is_told_with_the_tools_reason(node: NodeLab) -> None:
    staged(node).root.chmod(0o555)
    try:
        code, message = refused(node)
    finally:
        node.root.chmod(0o755)
    assert code == ErrorCode.NODE_NOT_WRITABLE
    assert "Permission denied" in message
    assert LEADS_TO_OLD in message


@pytest.fixture
def immutable(node: NodeLab) -> Iterator[Callable[[Path], None]]:
    """immutable(path) sets the attribute, where the file system knows it and we may."""
    frozen: list[Path] = []

    def freeze(path: Path) -> None:
        if subprocess.run(["chattr", "+i", str(path)], capture_output=True).returncode != 0:
            pytest.skip("chattr +i is not possible here")
        frozen.append(path)

    yield freeze
    for path in frozen:
        subprocess.run(["chattr", "-i", str(path)], check=True)


def test_an_immutable_root_is_told_with_the_tools_reason(node: NodeLab, immutable: Callable[[Path], None]) -> None:
    immutable(staged(node).root)
    code, message = refused(node)
    assert code == ErrorCode.NODE_NOT_WRITABLE
    assert "Operation not permitted" in message
    assert "lsattr" in message
    assert LEADS_TO_OLD in message


@ssh_alone
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_file_system_that_became_read_only_is_told(node: NodeLab) -> None:
    root = str(staged(node).root)
    subprocess.run(["mount", "--bind", root, root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
        code, message = refused(node)
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)
    assert code == ErrorCode.NODE_NOT_WRITABLE
    assert "Read-only file system" in message
    assert LEADS_TO_OLD in message


# While the restart runs.


def test_a_log_that_can_not_be_written_is_a_warning_with_its_reason(node: NodeLab) -> None:
    staged(node)
    (node.root / "releases.log").unlink()
    (node.root / "releases.log").mkdir()
    switched = node.switch("1.1.0", fence=2, restart="echo up")
    assert switched.outcome == "switched"
    assert "releases.log" in switched.warnings[0]
    assert "directory" in switched.warnings[0].lower()
    assert node.seen.lines("stderr") == []


@pytest.mark.parametrize(("restart", "outcome", "warnings"), [("", "switched", 1), ("exit 3", "restart_failed", 2)])
def test_a_fifo_in_the_logs_place_holds_nothing_up(node: NodeLab, restart: str, outcome: str, warnings: int) -> None:
    put_a_fifo_for(staged(node).root / "releases.log")
    begun = time.monotonic()
    switched = node.switch("1.1.0", fence=2, restart=restart)
    assert time.monotonic() - begun < 10
    assert switched.outcome == outcome
    assert switched.warnings == (
        f"a line of releases.log was not written: {node.root}/releases.log is a FIFO",
    ) * warnings  # fmt: skip


def test_a_release_before_that_is_gone_is_not_called_none(node: NodeLab) -> None:
    switched = staged(node).switch("1.1.0", fence=2, restart="rm -rf ../1.0.0; exit 3")
    assert (switched.outcome, switched.back, switched.reverted) == ("restart_failed", "gone", False)
    assert switched.previous == "1.0.0"
    assert switched.current is not None
    assert switched.current.release == "1.1.0"
    last = node.state().last
    assert last is not None
    assert last.back == "gone"


def test_a_link_that_can_not_go_back_is_told_with_its_reason(node: NodeLab) -> None:
    switched = staged(node).switch("1.1.0", fence=2, restart="rm ../../current; mkdir ../../current; exit 3")
    assert (switched.back, switched.reverted, switched.has_way_back_failed) == ("unlinked", False, True)
    assert "is not a link" in switched.back_problem
    last = node.state().last
    assert last is not None
    assert (last.back, last.has_way_back_failed) == ("unlinked", True)


def test_our_own_folder_removed_in_mid_restart_is_no_newer_claim(node: NodeLab) -> None:
    switched = staged(node).switch("1.1.0", fence=2, restart="rm -rf ../../.release; exit 3")
    assert (switched.back, switched.has_way_back_failed) == ("unlinked", True)
    assert switched.current is not None
    assert switched.current.release == "1.1.0"


@pytest.mark.parametrize(("restart", "seconds", "expected"), [("exit 4", 20, (4, False)), ("sleep 30", 1, (124, True))])
def test_how_the_way_backs_restart_ended_is_on_record(
    node: NodeLab, restart: str, seconds: int, expected: tuple[int, bool]
) -> None:
    switched = staged(node).switch(
        "1.1.0", fence=2, restart=f"[ $RELEASE_VERSION = 1.0.0 ] || exit 3; {restart}", timeout_seconds=seconds
    )
    last = node.stage("1.1.0", fence=3).state.last
    assert last is not None
    for each in (switched, last):
        assert (each.restart_exit, each.reverted, each.has_way_back_failed) == (3, True, True)
        assert (each.back, each.back_exit, each.back_timed_out) == ("restarted", *expected)
    later = node.switch("1.1.0", fence=4, restart="true")
    assert (later.outcome, later.back) == ("switched", "")
    assert node.state().last.back == ""  # type: ignore[union-attr]


# Waiting for an older claim.


def waits(node: NodeLab) -> list[Waiting]:
    return [event for event in node.seen.events if isinstance(event, Waiting)]


def test_who_waits_for_a_switch_of_an_older_claim_says_for_whom_and_how_long(node: NodeLab) -> None:
    pid = in_mid_switch(node, "sleep 1", seconds=20)
    node.switch("1.0.0", fence=3)
    assert waits(node) == [Waiting(fence=2, pid=pid, seconds=100), Waiting(fence=2, ending="ended")]


def test_a_frozen_program_is_killed_when_its_time_is_up_and_that_is_said(node: NodeLab) -> None:
    pid = in_mid_switch(node, "sleep 60", seconds=20)
    shorten_budget(node, seconds=1)
    os.kill(pid, signal.SIGSTOP)
    assert node.stage("1.1.0", fence=3).outcome == "present"
    assert waits(node) == [Waiting(fence=2, pid=pid, seconds=1), Waiting(fence=2, ending="killed")]
    assert is_gone(pid)


def in_mid_switch(node: NodeLab, restart: str, *, seconds: int) -> int:
    """The program of claim 2, whose restart of 1.1.0 runs and nobody listens to."""
    staged(node)
    begun = node.root / "begun"
    start_and_leave(
        node,
        lambda transport: node.switch_on(
            transport,
            "1.1.0",
            fence=2,
            restart=f"touch ../../begun; {restart}",
            timeout_seconds=seconds,
            keep=["1.0.0"],
        ),
        until=begun.exists,
    )
    return program_of(node, 2).pid


def shorten_budget(node: NodeLab, *, seconds: int) -> None:
    """In the record that who waits goes by; in production it is twice the command's time and a minute."""
    state = node.root / ".release/claim.2/state"
    owner = [line for line in state.read_text().splitlines() if line.startswith("owner")][-1]
    with state.open("a") as file:
        file.write(f"{owner.rpartition(' ')[0]} {seconds}\n")
