from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from deploys.node.session import NodeError, StaleFence
from inventory.nodes.transports.base import ConnectionLost
from tests.deploys.node.node_lab import OPERATION, NodeLab, files_of, sha256_of


def test_a_staged_release_has_the_packages_content_and_its_record(node: NodeLab) -> None:
    staged = node.stage("1.0.0", fence=1)
    assert (staged.outcome, staged.state.current, staged.kept_artifact) == ("installed", "", None)
    release = node.release("1.0.0")
    assert {name: (release / name).read_bytes() for name in files_of("1.0.0")} == files_of("1.0.0")
    assert os.readlink(release / "latest") == "VERSION"
    assert (release / "bin/run").stat().st_mode & 0o7777 == 0o755
    assert (release / "VERSION").stat().st_mode & 0o7777 == 0o644
    record = json.loads((release / ".release.json").read_text())
    assert list(record) == ["version", "sha256", "operation", "installed_at"]
    assert record["version"] == "1.0.0"
    assert record["sha256"] == sha256_of("1.0.0")
    assert record["operation"] == OPERATION
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["installed_at"])
    assert node.current == ""
    assert node.leftovers() == []


def test_a_switch_links_and_logs_it(node: NodeLab) -> None:
    assert node.deploy("1.0.0", fence=1).previous == ""
    switched = node.deploy("1.1.0", fence=2)
    assert (switched.outcome, switched.previous, switched.reverted) == ("switched", "1.0.0", False)
    assert switched.restart_exit is None
    assert node.current == "releases/1.1.0"
    assert [line[1:] for line in node.log_lines()] == [["-", "1.0.0", OPERATION], ["1.0.0", "1.1.0", OPERATION]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line[0]) for line in node.log_lines())
    assert node.leftovers() == []


def test_nothing_of_ours_lies_in_the_folders_of_the_contract(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    assert sorted(path.name for path in node.root.iterdir()) == [".release", "current", "releases", "releases.log"]
    assert node.releases() == ["1.0.0"]


def test_the_restart_command_runs_in_the_release_with_its_environment(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)
    node.switch("1.1.0", fence=2, restart="pwd -P; cat VERSION; echo; env; cat; umask; echo oops >&2")
    lines = node.seen.lines()
    assert lines[:2] == [str(node.release("1.1.0").resolve()), "1.1.0"]
    environment = {line.partition("=")[0] for line in lines if "=" in line}
    assert "RELEASE_VERSION=1.1.0" in lines
    assert "RELEASE_PREVIOUS_VERSION=1.0.0" in lines
    assert "RELEASE_SERVICE=shop" in lines
    assert "PATH" in environment
    assert not environment & {"LC_ALL", "TZ", "SECRET_KEY", "SSH_CONNECTION", "DJANGO_SETTINGS_MODULE"}
    assert lines[-1] == "0022"
    assert node.seen.lines("stderr") == ["oops"]
    assert node.seen.steps() == ["stage", "switch", "stage", "switch", "restart"]


def test_signals_reach_the_restarted_service_as_if_started_by_hand(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1, restart="grep SigIgn /proc/self/status")
    ignored = int(node.seen.lines()[-1].split()[1], 16)
    assert [signal for signal in (1, 2, 3, 13, 15) if ignored >> (signal - 1) & 1] == []


def test_a_present_whole_release_is_not_sent_again(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    before = node.release("1.0.0").stat().st_ino
    assert node.stage("1.0.0", fence=2).outcome == "present"
    assert node.release("1.0.0").stat().st_ino == before


def test_without_an_artifact_it_says_that_it_needs_one(node: NodeLab) -> None:
    staged = node.stage("1.0.0", fence=1, artifact=None)
    assert staged.outcome == "needs_artifact"
    assert node.releases() == []


def test_files_that_the_service_adds_do_not_break_a_release(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1, restart="mkdir -p cache && echo pid >cache/pid && echo x >log")
    assert node.stage("1.0.0", fence=2).outcome == "present"


@pytest.mark.parametrize(
    "tamper",
    [
        "echo evil >VERSION",
        "rm VERSION",
        "chmod 600 VERSION",
        "printf 1.1.0 >VERSION && touch -d @1700000000 VERSION",
        "ln -sfn /etc/passwd latest",
        "mv bin/run bin/gone",
    ],
)
def test_a_tampered_release_is_staged_anew_and_never_switched_to(node: NodeLab, tamper: str) -> None:
    node.deploy("1.0.0", fence=1)
    node.deploy("1.1.0", fence=2, keep=["1.0.0"], restart=f"cd ../1.0.0 && {tamper}")
    assert node.switch("1.0.0", fence=3).outcome == "not_intact"
    assert node.current == "releases/1.1.0"
    assert node.stage("1.0.0", fence=3).outcome == "installed"
    assert node.switch("1.0.0", fence=3).outcome == "switched"
    assert (node.release("1.0.0") / "VERSION").read_bytes() == b"1.0.0"
    assert node.leftovers() == []


@pytest.mark.parametrize("seal", ["sealed='torn", "", "exit 0", "sealed=''"])
def test_a_torn_seal_seals_nothing(node: NodeLab, seal: str) -> None:
    node.deploy("1.0.0", fence=1)
    (node.root / ".release/seals/1.0.0/seal").write_text(seal)
    assert node.switch("1.0.0", fence=2).outcome == "not_intact"
    assert node.stage("1.0.0", fence=2).outcome == "installed"
    assert node.stage("1.0.0", fence=3).outcome == "present"


def test_names_of_files_are_never_taken_for_shell(node: NodeLab) -> None:
    files = {"VERSION": b"1.0.0", "'; touch pwned; '": b"", "$(touch pwned)": b"", "a'\\''b\\": b""}
    artifact = node.artifact("1.0.0", files)
    assert node.stage("1.0.0", fence=1, artifact=artifact).outcome == "installed"
    assert node.stage("1.0.0", fence=2, artifact=artifact).outcome == "present"
    assert list(node.root.rglob("pwned")) == []


@pytest.mark.parametrize("damage", ["", "rm mold/err.back.mold", "rm mold/link", "rm -r mold", "echo x >mold/more"])
@pytest.mark.parametrize("restart", ["echo out; echo err >&2", "echo out; echo err >&2; [ $RELEASE_VERSION != 1.0.0 ]"])
def test_a_claim_for_a_switch_alone_begins_as_a_copy(node: NodeLab, damage: str, restart: str) -> None:
    node.deploy("1.0.0", fence=1)
    node.deploy("1.1.0", fence=2, keep=["1.0.0"], restart=f"cd ../../.release/seals/1.0.0 && {damage or 'true'}")
    switched = node.switch("1.0.0", fence=3, restart=restart, keep=["1.1.0"])
    is_good = "!=" not in restart
    assert switched.outcome == ("switched" if is_good else "restart_failed")
    assert node.current == ("releases/1.0.0" if is_good else "releases/1.1.0")
    assert node.seen.lines() == ["out"] * (1 if is_good else 2)
    assert node.seen.lines("stderr") == ["err"] * (1 if is_good else 2)
    is_copy = (node.root / ".release/claim.3/out.mold").exists()
    assert is_copy == ("-r" not in damage)
    assert node.switch("1.0.0", fence=4).outcome == "switched"


@pytest.mark.parametrize("lost", ["releases", ".release", ".release/seals"])
def test_a_folder_removed_by_hand_is_made_again(node: NodeLab, lost: str) -> None:
    node.deploy("1.0.0", fence=1)
    shutil.rmtree(node.root / lost)
    assert node.deploy("1.0.0", fence=2).outcome == "switched"
    assert (node.release("1.0.0") / "VERSION").is_file()


def test_a_half_built_release_of_ours_is_staged_anew(node: NodeLab) -> None:
    half = "mkdir -p ../1.1.0/bin && echo half >../1.1.0/VERSION && cp .release.json ../1.1.0"
    node.deploy("1.0.0", fence=1, restart=half)
    assert node.switch("1.1.0", fence=2).outcome == "not_intact"
    assert node.stage("1.1.0", fence=2).outcome == "installed"
    assert (node.release("1.1.0") / "VERSION").read_bytes() == b"1.1.0"


def test_a_tampered_current_release_is_replaced_in_its_place(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1, restart="echo evil >VERSION")
    assert node.stage("1.0.0", fence=2).outcome == "installed"
    assert node.current == "releases/1.0.0"
    assert (node.root / "current" / "VERSION").read_bytes() == b"1.0.0"


def test_other_bytes_under_the_same_folder_are_not_intact(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    assert node.switch("1.0.0", fence=2, sha256=sha256_of("other")).outcome == "not_intact"


def test_an_artifact_that_came_damaged_is_never_unpacked(lab: NodeLab) -> None:
    artifact = lab.artifact("1.0.0")
    artifact.path.write_bytes(artifact.path.read_bytes()[:-1] + b"!")
    with pytest.raises(ConnectionLost, match="other bytes"):
        lab.stage("1.0.0", fence=1, artifact=artifact)
    assert lab.releases() == []
    assert lab.leftovers() == []


def test_one_upload_serves_a_nodes_other_instances(node: NodeLab, tmp_path: Path) -> None:
    first = node.stage("1.0.0", fence=1, keep_artifact=True)
    assert first.kept_artifact is not None
    artifact = node.artifact("1.0.0")
    artifact.path.unlink()
    node.root = node.root.parent / "instance-2"
    second = node.stage("1.0.0", fence=2, artifact=artifact, remote_artifact=first.kept_artifact)
    assert second.outcome == "installed"
    assert Path(first.kept_artifact).exists()


def test_a_kept_upload_that_is_gone_or_damaged_is_sent_again(node: NodeLab) -> None:
    staged = node.stage("1.0.0", fence=1, remote_artifact="/no/such/artifact")
    assert staged.outcome == "installed"
    assert node.stage("1.1.0", fence=2, remote_artifact="/etc/passwd").outcome == "installed"


def test_the_next_claim_removes_a_forgotten_upload(node: NodeLab) -> None:
    kept = node.stage("1.0.0", fence=1, keep_artifact=True).kept_artifact
    assert kept is not None
    node.deploy("1.0.0", fence=2)
    assert not Path(kept).exists()


def test_restarting_what_is_current_is_allowed(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    switched = node.switch("1.0.0", fence=2, restart="echo again")
    assert (switched.outcome, switched.previous) == ("switched", "1.0.0")
    assert node.seen.lines() == ["again"]


def test_a_link_changed_by_hand_is_what_the_switch_goes_back_to(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.deploy("1.1.0", fence=2, keep=["1.0.0"], restart="ln -sfn releases/1.0.0 ../../current")
    assert node.state().current == "1.0.0"
    switched = node.deploy("1.2.0", fence=3, restart="exit 1", keep=["1.0.0"])
    assert (switched.previous, switched.reverted) == ("1.0.0", True)


def test_a_folder_in_the_links_place_is_not_overwritten(node: NodeLab) -> None:
    node.stage("1.0.0", fence=1)
    (node.root / "current").mkdir()
    with pytest.raises(NodeError) as caught:
        node.switch("1.0.0", fence=1)
    assert caught.value.code == "switch_failed"
    state = node.state()
    assert state.last is not None
    assert (state.last.phase, state.current) == ("refused", "")


def test_a_lower_claim_is_refused_and_changes_nothing(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=5)
    for call in (lambda: node.stage("1.1.0", fence=4), lambda: node.switch("1.0.0", fence=4, restart="echo run")):
        with pytest.raises(StaleFence) as caught:
            call()
        assert caught.value.newest == 5
    assert node.releases() == ["1.0.0"]
    assert node.seen.lines() == []
    assert len(node.log_lines()) == 1


def test_before_switch_runs_in_the_staged_release(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.stage("1.1.0", fence=2)

    def before(command: str) -> object:
        return node.within(
            lambda transport: node.session(transport, 2).before_switch(
                release="1.1.0", command=command, timeout_seconds=1
            )
        )

    ended = before("cat VERSION; echo; echo $RELEASE_PREVIOUS_VERSION; exit 3")
    assert (ended.exit_status, ended.timed_out) == (3, False)  # type: ignore[attr-defined]
    assert node.seen.lines() == ["1.1.0", "1.0.0"]
    assert before("sleep 20").timed_out  # type: ignore[attr-defined]
    assert node.current == "releases/1.0.0"


def test_the_truth_of_an_empty_root_is_nothing(node: NodeLab) -> None:
    state = node.state()
    assert (state.current, state.version, state.sha256, state.last) == ("", "", "", None)


def test_the_truth_tells_what_runs_and_how_the_last_switch_went(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    node.deploy("1.1.0", fence=2, restart="exit 7")
    state = node.state()
    assert (state.current, state.version, state.sha256) == ("1.0.0", "1.0.0", sha256_of("1.0.0"))
    last = state.last
    assert last is not None
    assert (last.fence, last.release, last.previous, last.phase) == (2, "1.1.0", "1.0.0", "done")
    assert (last.is_alive, last.restart_exit, last.timed_out, last.reverted) == (False, 7, False, True)


def test_the_record_of_a_switch_survives_later_claims(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    for fence in range(2, 13):
        node.stage("1.0.0", fence=fence)
    last = node.state().last
    assert last is not None
    assert (last.fence, last.release, last.phase, last.is_alive) == (1, "1.0.0", "done", False)
