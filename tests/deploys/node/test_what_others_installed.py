"""What another tool has put under releases/ is never replaced, moved or deleted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploys.error_codes import ErrorCode
from deploys.node.session import NodeError
from inventory.nodes.state import survey_roots
from inventory.nodes.transports.base import NodeAddress
from tests.deploys.node.node_lab import NodeLab, sha256_of
from tests.support.foreign_trees import capistrano, contents, shared_with_the_login, uploads

OURS = {"version": "1.2.0", "sha256": sha256_of("1.2.0"), "operation": "op", "installed_at": "2024-01-15T10:30:00Z"}


def no_record(folder: Path) -> None:
    pass


def a_torn_record(folder: Path) -> None:
    text = json.dumps(OURS, separators=(",", ":"))
    (folder / ".release.json").write_text(text[:90])


def another_tools_record(folder: Path) -> None:
    (folder / ".release.json").write_text('{"version":"1.2.0","git":"f00","installed_at":"2024-01-15T10:30:00Z"}')


def a_link_to_a_release_of_ours(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    (folder.with_name("moved") / ".release.json").write_text(json.dumps(OURS, separators=(",", ":")))
    folder.symlink_to("moved")


def a_file(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.write_text("a file")


@pytest.fixture
def ssh_node(lab: NodeLab, request: pytest.FixtureRequest, tmp_path: Path) -> NodeLab:
    """Its login is not root, as this test is."""
    sshd = request.getfixturevalue("sshd")
    address = NodeAddress(name="node-1", **sshd.node_fields)
    root = Path(sshd.node_root()) / "instance-1"
    return NodeLab(root=root, artifacts=tmp_path / "artifacts", address=address, key_file=str(sshd.private_key))


SHAPES = [no_record, a_torn_record, another_tools_record, a_link_to_a_release_of_ours, a_file]


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.__name__ for shape in SHAPES])
def test_what_we_did_not_install_is_not_replaced(node: NodeLab, shape: Callable[[Path], None]) -> None:
    node.deploy("1.0.0", fence=1)
    shape(uploads(node.release("1.2.0")))
    before = contents(node.root / "releases")
    with pytest.raises(NodeError) as refused:
        node.stage("1.2.0", fence=2)
    assert refused.value.code == ErrorCode.RELEASE_EXISTS
    assert f"{node.root}/releases/1.2.0 is there already, and we did not install it" in refused.value.message
    assert "Move it away, then retry; or deploy under another version" in refused.value.message
    assert contents(node.root / "releases") == before
    assert node.leftovers() == []


def test_what_comes_there_during_the_upload_is_not_replaced_either(lab: NodeLab) -> None:
    lab.deploy("1.0.0", fence=1)
    seen = contents(uploads(lab.root / "elsewhere"))
    artifact = lab.artifact("1.2.0")

    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (lab.root / "elsewhere").rename(lab.release("1.2.0"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(artifact.path.read_bytes())

    with HTTPServer(("127.0.0.1", 0), Host) as host:
        Thread(target=host.handle_request).start()
        with pytest.raises(NodeError) as refused:
            lab.stage("1.2.0", fence=2, artifact=artifact, url=f"http://127.0.0.1:{host.server_port}/")
    assert refused.value.code == ErrorCode.RELEASE_EXISTS
    assert contents(lab.release("1.2.0")) == seen
    assert lab.leftovers() == []


def test_a_release_of_ours_without_its_record_is_not_known_as_ours(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    (node.release("1.0.0") / ".release.json").unlink()
    with pytest.raises(NodeError) as refused:
        node.stage("1.0.0", fence=2)
    assert refused.value.code == ErrorCode.RELEASE_EXISTS


def test_a_release_of_ours_with_other_bytes_is_replaced_as_ever(node: NodeLab) -> None:
    node.deploy("1.0.0", fence=1)
    assert node.stage("1.0.0", fence=2, sha256=sha256_of("other")).outcome == "installed"


def test_a_clean_up_spares_another_tools_record(node: NodeLab) -> None:
    capistrano(node.root)
    another_tools_record(uploads(node.release("0.9.0")))
    shared_with_the_login(node.root)
    theirs = contents(node.root / "releases")
    node.deploy("1.0.0", fence=1)
    node.deploy("1.1.0", fence=2)
    node.deploy("1.2.0", fence=3)
    left = contents(node.root / "releases")
    assert {name: left[name] for name in theirs} == theirs
    assert not node.release("1.0.0").exists()


def test_an_old_release_with_others_files_stays_in_sight_and_is_tried_again(ssh_node: NodeLab) -> None:
    node = ssh_node
    for fence, version in enumerate(("1.0.0", "1.1.0"), 1):
        node.deploy(version, fence=fence)
    theirs = node.release("1.0.0") / "cache"
    theirs.mkdir()
    (theirs / "file").write_text("theirs" * 2000)
    try:
        for fence, version in enumerate(("1.2.0", "1.3.0"), 3):
            switch = node.deploy(version, fence=fence)
            assert any("1.0.0" in warning and "could not be removed" in warning for warning in switch.warnings), version
        [survey] = node.within(lambda transport: survey_roots(transport, [str(node.root)], timeout_seconds=20))
        [(path, kilobytes)] = survey.stuck
        assert path == f"{node.root}/.release/claim.3/gone.1.0.0"
        assert kilobytes >= 12
    finally:
        stuck = node.root / ".release" / "claim.3" / "gone.1.0.0"
        shutil.rmtree(stuck / "cache", ignore_errors=True)
    assert node.deploy("1.4.0", fence=5).warnings == ()
    assert not stuck.exists()
