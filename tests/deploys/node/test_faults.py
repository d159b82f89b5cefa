"""The network and the disk fail (FAULTS.md, rows 16 to 21), seen from the session."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.node.session import NodeError, NodeState
from inventory.nodes.transports import ssh, ssh_login
from inventory.nodes.transports.base import (
    ConnectionLost,
    HostKeyMismatch,
    NodeAddress,
    NodeUnreachable,
    Transport,
)
from inventory.nodes.transports.ssh import SshTransport
from tests.deploys.node.node_lab import NodeLab, files_of, sha256_of
from tests.support.sshd import SshServer
from tests.support.tcp_proxy import TcpProxy, tcp_proxy


@pytest.fixture
def proxy(sshd: SshServer) -> Iterator[TcpProxy]:
    with tcp_proxy(sshd.port) as proxy:
        yield proxy


@pytest.fixture
def far(sshd: SshServer, proxy: TcpProxy, tmp_path: Path) -> NodeLab:
    """A node behind the proxy."""
    (tmp_path / "artifacts").mkdir()
    fields = {**sshd.node_fields, "ssh_port": proxy.port}
    return NodeLab(
        root=Path(sshd.node_root()) / "root",
        artifacts=tmp_path / "artifacts",
        address=NodeAddress(name="node-1", **fields),  # type: ignore[arg-type]
        key_file=str(sshd.private_key),
    )


def settled(node: NodeLab) -> NodeState:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = node.state()
        if state.last is None or not state.last.is_alive:
            return state
        time.sleep(0.05)
    raise AssertionError("the program never ended")


def test_a_cut_in_mid_upload_leaves_nothing_visible_and_may_be_tried_again(far: NodeLab, proxy: TcpProxy) -> None:
    far.deploy("1.0.0", fence=1)
    artifact = far.artifact("1.1.0", {"big": os.urandom(6_000_000), "VERSION": b"1.1.0"})

    async def main(transport: Transport) -> None:
        await transport.run("true", timeout_seconds=10)
        proxy.cut_after(3_000_000)
        with pytest.raises(ConnectionLost):
            await far.stage_on(transport, "1.1.0", fence=2, artifact=artifact)
        assert far.releases() == ["1.0.0"]
        proxy.cut_after(None)
        staged = await far.stage_on(transport, "1.1.0", fence=2, artifact=artifact)
        assert staged.outcome == "installed"

    far.within(main)
    assert far.leftovers() == []


def test_a_cut_upload_is_cleared_away_by_the_node_itself(far: NodeLab, proxy: TcpProxy) -> None:
    artifact = far.artifact("1.1.0", {"big": os.urandom(6_000_000), "VERSION": b"1.1.0"})

    async def main(transport: Transport) -> None:
        await transport.run("true", timeout_seconds=10)
        proxy.cut_after(3_000_000)
        with pytest.raises(ConnectionLost):
            await far.stage_on(transport, "1.1.0", fence=1, artifact=artifact)

    far.within(main)
    assert far.leftovers() == []


@pytest.mark.parametrize(
    "restart", ["echo one >>../../restarts; sleep 1", "echo one >>../../restarts; sleep 1; exit 6"]
)
def test_after_a_cut_behind_the_switch_the_node_knows_what_came_of_it(
    far: NodeLab, proxy: TcpProxy, restart: str
) -> None:
    far.deploy("1.0.0", fence=1)
    far.stage("1.1.0", fence=2)

    async def main(transport: Transport) -> None:
        task = asyncio.ensure_future(far.switch_on(transport, "1.1.0", fence=2, restart=restart))
        while "restart" not in far.seen.steps():
            await asyncio.sleep(0.01)
        proxy.cut()
        with pytest.raises(ConnectionLost):
            await task

    far.within(main)
    state = settled(far)
    is_good = "exit" not in restart
    assert state.last is not None
    assert (state.last.fence, state.last.release, state.last.phase) == (2, "1.1.0", "done")
    assert (state.last.restart_exit, state.last.reverted) == ((0, False) if is_good else (6, True))
    assert state.current == ("1.1.0" if is_good else "1.0.0")
    assert (far.root / "restarts").read_text().count("one") == (1 if is_good else 2)


def test_a_cut_before_the_switch_arrived_shows_as_no_switch(far: NodeLab, proxy: TcpProxy) -> None:
    far.deploy("1.0.0", fence=1)
    far.stage("1.1.0", fence=2)

    async def main(transport: Transport) -> None:
        await transport.run("true", timeout_seconds=10)
        proxy.cut_after(1)
        with pytest.raises((ConnectionLost, NodeUnreachable)):
            await far.switch_on(transport, "1.1.0", fence=2, restart="echo one >>../../restarts")
        proxy.cut_after(None)

    proxy.cut_after(None)
    far.within(main)
    state = settled(far)
    assert state.last is not None
    assert (state.last.fence, state.current) in ((1, "1.0.0"), (2, "1.1.0"))
    assert (state.last.fence == 2) == (far.root / "restarts").exists()


def test_a_silent_node_costs_its_deadline_and_no_more(
    far: NodeLab, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_login, "LOGIN_SECONDS", 0.5)
    monkeypatch.setattr(ssh_login, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(ssh, "CHANNEL_SECONDS", 0.5)
    proxy.stall()
    begun = time.monotonic()
    with pytest.raises(NodeUnreachable):
        far.stage("1.0.0", fence=1)
    assert time.monotonic() - begun < 4


def test_a_changed_host_key_stops_a_switch_before_anything_is_sent(own_sshd: SshServer, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    node = NodeLab(
        root=Path(own_sshd.node_root()) / "root",
        artifacts=tmp_path / "artifacts",
        address=NodeAddress(name="node-1", **own_sshd.node_fields),  # type: ignore[arg-type]
        key_file=str(own_sshd.private_key),
    )
    node.deploy("1.0.0", fence=1)
    own_sshd.change_host_key()
    with pytest.raises(HostKeyMismatch):
        node.deploy("1.1.0", fence=2)
    assert node.releases() == ["1.0.0"]


def test_many_instances_over_one_connection(sshd: SshServer, proxy: TcpProxy, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    address = NodeAddress(name="node-1", **{**sshd.node_fields, "ssh_port": proxy.port})  # type: ignore[arg-type]
    labs = [NodeLab(root=Path(sshd.node_root()) / "root", artifacts=tmp_path / "artifacts") for _ in range(20)]
    labs[0].artifact("1.0.0")

    async def main() -> None:
        transport = SshTransport(address, key_file=str(sshd.private_key))
        artifact = labs[0].artifact("1.0.0")
        first = await labs[0].stage_on(transport, "1.0.0", fence=1, artifact=artifact, keep_artifact=True)
        await asyncio.gather(
            *(
                lab.stage_on(transport, "1.0.0", fence=2, artifact=artifact, remote_artifact=first.kept_artifact)
                for lab in labs[1:]
            )
        )
        switched = await asyncio.gather(
            *(lab.switch_on(transport, "1.0.0", fence=2, restart="sleep 0.2; echo up") for lab in labs)
        )
        assert {each.outcome for each in switched} == {"switched"}
        await transport.close()

    asyncio.run(main())
    assert proxy.connections == 1
    assert [lab.current for lab in labs] == ["releases/1.0.0"] * 20
    assert [lab.seen.lines() for lab in labs] == [["up"]] * 20


@pytest.fixture
def small_disk(sshd: SshServer, tmp_path: Path) -> Iterator[NodeLab]:
    """A node whose deploy root is on a file system of 4 MB and few inodes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount = Path(sshd.node_root())
    account = pwd.getpwnam(sshd.user)
    options = f"size=4m,nr_inodes=200,uid={account.pw_uid},gid={account.pw_gid},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], check=True)
    (tmp_path / "artifacts").mkdir()
    try:
        yield NodeLab(
            root=mount / "root",
            artifacts=tmp_path / "artifacts",
            address=NodeAddress(name="node-1", **sshd.node_fields),  # type: ignore[arg-type]
            key_file=str(sshd.private_key),
        )
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"big": os.urandom(5_000_000)}, id="too big"),
        pytest.param({"big": bytes(9_000_000)}, id="small, and unpacks too big"),
        pytest.param({f"file-{number}": b"x" for number in range(300)}, id="no inodes left"),
    ],
)
def test_a_full_disk_is_told_and_what_was_begun_is_removed(small_disk: NodeLab, files: dict[str, bytes]) -> None:
    small_disk.deploy("1.0.0", fence=1)
    artifact = small_disk.artifact("1.1.0", files)
    with pytest.raises(NodeError) as caught:
        small_disk.stage("1.1.0", fence=2, artifact=artifact)
    assert caught.value.code == "node_disk_full"
    assert str(small_disk.root) in caught.value.message
    assert small_disk.releases() == ["1.0.0"]
    assert small_disk.current == "releases/1.0.0"
    assert small_disk.leftovers() == []
    assert small_disk.deploy("1.2.0", fence=3).outcome == "switched"


@pytest.mark.parametrize("room", ["no block", "no inode"])
def test_a_disk_that_gets_full_in_the_copy_of_another_release_is_told(small_disk: NodeLab, room: str) -> None:
    many = {f"file-{number}": os.urandom(12_000) for number in range(70)}
    old, new = (small_disk.artifact(name, {**many, **files_of(name)}) for name in ("1.0.0", "1.1.0"))
    small_disk.stage("1.0.0", fence=1, artifact=old)
    small_disk.switch("1.0.0", fence=1)
    part = small_disk.part(new, old)
    filler = small_disk.root / "filler"
    filler.mkdir()
    if room == "no block":
        (filler / "bytes").write_bytes(bytes(2_600_000))
    else:
        for number in range(60):
            (filler / str(number)).touch()

    with pytest.raises(NodeError) as caught:
        small_disk.stage("1.1.0", fence=2, artifact=part, base=("1.0.0", sha256_of("1.0.0")))

    assert caught.value.code == "node_disk_full"
    assert (small_disk.releases(), small_disk.current) == (["1.0.0"], "releases/1.0.0")
    assert small_disk.leftovers() == []
    shutil.rmtree(filler)
    staged = small_disk.stage("1.1.0", fence=3, artifact=part, base=("1.0.0", sha256_of("1.0.0")))
    assert (staged.outcome, small_disk.switch("1.1.0", fence=3).outcome) == ("installed", "switched")


@pytest.mark.parametrize("room", ["no block", "no inode"])
def test_a_switch_on_a_full_disk_is_refused_before_the_link_moves_or_done(small_disk: NodeLab, room: str) -> None:
    small_disk.deploy("1.0.0", fence=1)
    small_disk.stage("1.1.0", fence=2)
    if room == "no block":
        subprocess.run(["dd", "if=/dev/zero", f"of={small_disk.root}/filler", "bs=4k"], capture_output=True)
    else:
        (small_disk.root / "filler").mkdir()
        for number in range(300):
            try:
                (small_disk.root / "filler" / str(number)).touch()
            except OSError:
                break
    with pytest.raises(NodeError) as caught:
        small_disk.switch("1.1.0", fence=3, restart="true")
    assert caught.value.code == "node_disk_full"
    assert "`current` leads to '1.0.0'." in caught.value.message
    assert small_disk.current == "releases/1.0.0"
    subprocess.run(["rm", "-rf", f"{small_disk.root}/filler"], check=True)
    assert small_disk.switch("1.1.0", fence=4, restart="true").outcome == "switched"


def test_a_root_that_can_not_be_written_is_told(sshd: SshServer, far: NodeLab) -> None:
    far.root = Path("/proc/no/such/root")
    with pytest.raises(NodeError) as caught:
        far.stage("1.0.0", fence=1)
    assert caught.value.code == "internal_error"
    assert "/proc/no" in caught.value.message
