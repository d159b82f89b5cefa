"""Nodes whose login has another shell than ours, and nodes that lack what we need: a real sshd, a real login."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploys.node.session import NodeError
from inventory.nodes.check import try_connection
from inventory.nodes.transports import ssh_session
from inventory.nodes.transports.base import NodeAddress, NodeUnsuitable
from tests.deploys.node.node_lab import NodeLab
from tests.support.sshd import SshServer, ssh_server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes accounts with other login shells")


class LoginLab(NodeLab):
    sshd: SshServer


@pytest.fixture
def login(tmp_path: Path) -> Iterator[Callable[..., LoginLab]]:
    """login(shell, *options of sshd): a deploy root at a node whose login has that shell."""
    (tmp_path / "artifacts").mkdir()
    with ExitStack() as stack:

        def open_login(shell: str, *options: str) -> LoginLab:
            sshd = stack.enter_context(ssh_server(shell=shell, options=options))
            lab = LoginLab(
                root=Path(sshd.node_root()) / 'it\'s a "root" $x !1' / "instance-1",
                artifacts=tmp_path / "artifacts",
                address=NodeAddress(name="node-1", **sshd.node_fields),  # type: ignore[arg-type]
                key_file=str(sshd.private_key),
            )
            lab.sshd = sshd
            return lab

        yield open_login


def path_of(program: str) -> str:
    found = shutil.which(program)
    assert found is not None, f"{program} is missing: scripts/system_packages.sh installs it"
    return found


@pytest.mark.parametrize("shell", ["bash", "csh", "tcsh", "fish", "mksh", "zsh"])
def test_it_works_under_any_login_shell(login: Callable[..., LoginLab], shell: str) -> None:
    node = login(path_of(shell))
    own = node.sshd.home / "release"
    own.mkdir()

    node.deploy("1.0.0", fence=1)
    switched = node.deploy("1.1.0", fence=2, restart="echo \"$RELEASE_VERSION\" 'it''s !1'\n>&2 echo second")

    assert switched.outcome == "switched"
    assert node.current == "releases/1.1.0"
    assert node.seen.lines() == ["1.1.0 its !1"]
    assert node.seen.lines("stderr") == ["second"]
    assert own.is_dir(), "our program ran in the login's own folder"
    assert [path.name for path in node.sshd.home.iterdir() if not path.name.startswith(".")] == ["release"]
    assert node.readings()[0].version == "1.1.0"


def refused(node: LoginLab) -> str:
    """How a deploy, a sync and the test of the connection say that this login won't do."""
    with pytest.raises(NodeUnsuitable) as deploy:
        node.stage("1.0.0", fence=1)
    with pytest.raises(NodeUnsuitable):
        node.switch("1.0.0", fence=1)

    with pytest.raises(NodeUnsuitable):
        node.readings("/srv")
    assert not node.root.exists()
    return deploy.value.message


def test_a_login_that_runs_nothing_is_unsuitable_and_its_words_are_told(login: Callable[..., LoginLab]) -> None:
    message = refused(login("/usr/sbin/nologin"))

    assert "This account is currently not available." in message
    assert "POSIX sh" in message


def test_so_is_one_that_only_says_no(login: Callable[..., LoginLab]) -> None:
    assert "ended with status 1" in refused(login("/bin/false"))


def test_so_is_a_restricted_one(login: Callable[..., LoginLab]) -> None:
    if not Path("/bin/rbash").exists():
        Path("/bin/rbash").symlink_to("bash")

    assert "restricted" in refused(login("/bin/rbash"))


def test_so_is_one_with_a_forced_command(login: Callable[..., LoginLab]) -> None:
    node = login("/bin/bash", "ForceCommand echo welcome to menu 3")

    assert "welcome to menu 3" in refused(node)


@pytest.mark.parametrize("taken", ["read -r line", "head -c 1", "head -c 40", "cat >/dev/null", "read -r a; read -r b"])
def test_nothing_is_done_when_a_profile_has_taken_the_beginning(
    login: Callable[..., LoginLab], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_session, "SILENT_SECONDS", 0.5)
    node = login("/bin/bash")
    (node.sshd.home / ".bashrc").write_text(f"{taken}\n")

    assert "did not arrive whole" in refused(node)


def test_a_profile_that_prints_does_no_harm(login: Callable[..., LoginLab]) -> None:
    node = login("/bin/bash")
    (node.sshd.home / ".bashrc").write_text("echo Welcome; echo to the node >&2\n")

    assert node.deploy("1.0.0", fence=1).outcome == "switched"
    assert node.readings()[0].version == "1.0.0"


@pytest.fixture
def busybox_path() -> Iterator[str]:
    """A folder with BusyBox's programs alone, for sshd's SetEnv; /tmp/pytest-of-… is closed to the login."""
    folder = Path("/tmp") / f"release-busybox-{os.getpid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    subprocess.run((path_of("busybox"), "--install", "-s", str(folder)), check=True)
    yield str(folder)
    shutil.rmtree(folder)


def test_a_busybox_node_is_unsuitable_and_what_it_lacks_is_named(
    login: Callable[..., LoginLab], busybox_path: str, tmp_path: Path
) -> None:
    node = login("/bin/bash", f"SetEnv PATH={busybox_path}")

    with pytest.raises(NodeError) as refusal:
        node.stage("1.0.0", fence=1)

    assert refusal.value.code == "node_unsuitable"
    assert "GNU coreutils' du" in refusal.value.message
    assert "coreutils, tar and gzip" in refusal.value.message
    assert not node.root.exists()


def test_an_emptied_release_is_not_intact_on_a_node_that_became_one(
    login: Callable[..., LoginLab], busybox_path: str
) -> None:
    """Roots as earlier versions left them there: releases with empty stamps."""
    node = login("/bin/bash")
    node.deploy("1.0.0", fence=1)
    node.deploy("1.1.0", fence=2)
    (node.release("1.0.0") / "VERSION").unlink()
    (node.root / ".release" / "seals" / "1.0.0" / "seal").write_text("sealed=''\n")
    node.sshd.stop()
    configuration = node.sshd.folder / "sshd_config"
    configuration.write_text(f"{configuration.read_text()}SetEnv PATH={busybox_path}\n")
    node.sshd.start()

    assert node.switch("1.0.0", fence=3).outcome == "not_intact"
    with pytest.raises(NodeError) as refusal:
        node.stage("1.0.0", fence=4)

    assert refusal.value.code == "node_unsuitable"
    assert node.current == "releases/1.1.0"


@pytest.mark.parametrize("tool", ["tar", "gzip", "sha256sum"])
def test_a_tool_that_is_not_there_is_named(login: Callable[..., LoginLab], tool: str, tmp_path: Path) -> None:
    folder = Path("/tmp") / f"release-tools-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        for source in [*Path("/bin").iterdir(), *Path("/usr/bin").iterdir()]:
            if source.name != tool and not (folder / source.name).exists():
                (folder / source.name).symlink_to(source)
        node = login("/bin/bash", f"SetEnv PATH={folder}")

        with pytest.raises(NodeError, match=f"lacks {tool}\\.") as refusal:
            node.stage("1.0.0", fence=1)
        assert refusal.value.code == "node_unsuitable"
    finally:
        shutil.rmtree(folder)


def problems(settings: object, node: LoginLab, roots: Sequence[str]) -> str:
    settings.SSH_KEY_FILE = str(node.sshd.private_key)  # type: ignore[attr-defined]
    return try_connection(NodeAddress(name="node-1", **node.sshd.node_fields), roots).error  # type: ignore[arg-type]


def test_the_test_of_a_connection_says_what_a_deploy_would_fail_for(
    login: Callable[..., LoginLab], busybox_path: str, settings: object
) -> None:
    good = login("/bin/bash")
    assert problems(settings, good, [str(good.root)]) == ""
    assert not good.root.exists(), "it changes nothing"
    assert problems(settings, good, [str(good.root), "/etc/shop", "/etc/shop"]) == "its user may not write /etc"
    assert "not available" in problems(settings, login("/usr/sbin/nologin"), [])
    assert "lacks GNU coreutils' cp" in problems(settings, login("/bin/bash", f"SetEnv PATH={busybox_path}"), [])


def test_a_root_that_may_not_be_written_is_that(login: Callable[..., LoginLab]) -> None:
    node = login("/bin/bash")
    node.root = Path("/etc/release-test-root")

    with pytest.raises(NodeError) as refusal:
        node.stage("1.0.0", fence=1)

    assert refusal.value.code == "node_not_writable"
    assert "/etc/release-test-root" in refusal.value.message
