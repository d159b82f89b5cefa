from __future__ import annotations

import subprocess

from deploys.node import calls
from inventory.nodes.program import NodeCall

CALL = NodeCall(mark="\x1eabc", root="/srv/it's here", fence=42)
MARK = "\x1eabc"
WHERE = ["/srv/it's here", "42"]


def test_the_program_travels_without_comments_and_is_sound() -> None:
    text = calls.node_program()
    assert not [line for line in text.splitlines() if line.startswith(("#", "\t")) or not line]
    assert len(text) < 34_500
    assert subprocess.run(["sh", "-n", "-c", text], capture_output=True).stderr == b""


def test_stage() -> None:
    argv = calls.stage(
        CALL, release="1.0.0@abc", version="1.0.0", sha256="s" * 64, operation="op:1", artifact_sha256="a" * 64,
        source=calls.STDIN, keeps_upload=True, fetch_seconds=90, upload_bytes=7,
    )  # fmt: skip
    assert argv == [
        MARK,
        "stage",
        *WHERE,
        "1.0.0@abc",
        "1.0.0",
        "s" * 64,
        "op:1",
        "a" * 64,
        "stdin",
        "1",
        "90",
        "7",
        "-",
        "-",
    ]


def test_stage_of_another_release_and_a_part() -> None:
    argv = calls.stage(
        CALL, release="1.1.0", version="1.1.0", sha256="s" * 64, operation="op:1", artifact_sha256="a" * 64,
        source=calls.URL, keeps_upload=False, fetch_seconds=90, upload_bytes=0, base=("1.0.0", "b" * 64),
    )  # fmt: skip
    assert argv[-4:] == ["90", "0", "1.0.0", "b" * 64]


def test_before_switch() -> None:
    argv = calls.before_switch(
        CALL, release="1.0.0", timeout_seconds=60, command="./bin/migrate 'now'", env={"B": "2", "A": "one two"}
    )
    assert argv == [MARK, "before_switch", *WHERE, "1.0.0", "60", "./bin/migrate 'now'", "A=one two", "B=2"]


def test_switch() -> None:
    argv = calls.switch(
        CALL, release="1.1.0", sha256="s" * 64, operation="op", timeout_seconds=5, restart_command="systemctl restart x",
        keep=["1.0.0", "0.9.0"], version_timeout_seconds=30, version_command="cat v", confirm_within_seconds=60,
        env={"RELEASE_PORT": "8080"},
    )  # fmt: skip
    assert argv == [
        MARK, "switch", *WHERE, "1.1.0", "s" * 64, "op", "5", "systemctl restart x", "1.0.0 0.9.0", "30", "cat v", "60",
        "RELEASE_PORT=8080",
    ]  # fmt: skip


def test_conclude() -> None:
    argv = calls.conclude(
        CALL, decision=calls.TAKEN_BACK, operation="op", timeout_seconds=5, restart_command="systemctl restart x",
        keep=["1.0.0", "0.9.0"], env={"RELEASE_PORT": "8080"},
    )  # fmt: skip
    assert argv == [
        MARK, "conclude", *WHERE, "-", "op", "5", "systemctl restart x", "1.0.0 0.9.0", "RELEASE_PORT=8080",
    ]  # fmt: skip


def test_what_asks_and_what_stops() -> None:
    assert calls.state(CALL) == [MARK, "state", *WHERE]
    assert calls.abort(CALL) == [MARK, "abort", *WHERE]
    assert calls.forget(CALL, path="/srv/x/.release/kept.3") == [MARK, "forget", *WHERE, "/srv/x/.release/kept.3"]
    assert calls.mute(CALL, reader="12", program="11") == [MARK, "mute", *WHERE, "12", "11"]
