from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from tests.support.lab import Lab
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer
from tests.support.tcp_proxy import TcpProxy, tcp_proxy


@pytest.fixture
def lab(tmp_path: Path, package_host: PackageHost, settings: Settings) -> Lab:
    """Two instances on a local node; drives of this process may fetch from its package host."""
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return Lab.build(tmp_path, package_host, count=2)


@pytest.fixture
def holds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Makes `lab.hold` work for drives of this process too."""
    monkeypatch.setenv("RELEASE_FAULT_DIR", str(lab.faults))
    yield lab
    for held in lab.faults.glob("*.hold"):
        held.unlink()


@pytest.fixture
def proxy(own_sshd: SshServer) -> Iterator[TcpProxy]:
    with tcp_proxy(own_sshd.port) as proxy:
        yield proxy


@pytest.fixture
def far_lab(tmp_path: Path, package_host: PackageHost, own_sshd: SshServer, proxy: TcpProxy, settings: Settings) -> Lab:
    """Two instances on a node behind sshd, reached through the proxy."""
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.SSH_KEY_FILE = str(own_sshd.private_key)
    fields = {**own_sshd.node_fields, "ssh_port": proxy.port}
    return Lab.build(tmp_path, package_host, count=2, root=own_sshd.node_root(), **fields)  # type: ignore[arg-type]
