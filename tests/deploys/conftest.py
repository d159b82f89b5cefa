from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploys.node.node_lab import NodeLab


@pytest.fixture
def lab(tmp_path: Path) -> NodeLab:
    """A deploy root on this machine, under an awkward name."""
    (tmp_path / "artifacts").mkdir()
    return NodeLab(root=tmp_path / 'it\'s a "root" $x' / "instance-1", artifacts=tmp_path / "artifacts")


@pytest.fixture(params=["local", "ssh"])
def node(request: pytest.FixtureRequest, lab: NodeLab) -> NodeLab:
    """A deploy root over either transport; over ssh the login is not root."""
    if request.param == "local":
        return lab
    return lab.behind(request.getfixturevalue("sshd"))
