"""The benchmarks' simulated nodes say what the node program says: else they measure nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from deploys.node.calls import node_program
from deploys.node.session import NodeSession
from inventory.nodes.state import survey_roots
from inventory.nodes.transports.ssh import SshTransport
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.sshd import SshServer

SHA256 = {"1.0.0": "a" * 64, "2.0.0": "b" * 64}
ROOT = "/srv/simulated"


@pytest.fixture
def port(sshd: SshServer) -> Iterator[int]:
    command = (sys.executable, "-m", "bench.simulated.servers", str(sshd.folder), sshd.host, "2")
    process = subprocess.Popen(command, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())[1]
    finally:
        process.kill()
        process.wait()


async def deploy(session: NodeSession, artifact: Path, version: str) -> tuple[str, str, str]:
    """What came of the stage, and of the switch, and what ran before."""
    staged = await session.stage(
        release=version,
        version=version,
        sha256=SHA256[version],
        operation="deploy-1",
        artifact_path=artifact,
        artifact_sha256="c" * 64,
        timeout_seconds=20,
    )
    return staged.outcome, *await switch(session, version)


async def switch(session: NodeSession, version: str) -> tuple[str, str]:
    switched = await session.switch(
        release=version,
        sha256=SHA256[version],
        operation="deploy-1",
        restart_command="true",
        timeout_seconds=20,
        keep=[],
    )
    return switched.outcome, switched.previous


def test_they_answer_deploys_a_rollback_and_a_survey_over_one_connection(
    sshd: SshServer, port: int, tmp_path: Path
) -> None:
    artifact = tmp_path / "artifact"
    artifact.write_bytes(bytes(300_000))

    async def main() -> None:
        transport = SshTransport(
            ssh_address(sshd, ssh_port=port), key_file=str(sshd.private_key), standby=node_program()
        )
        session = NodeSession(transport, root=ROOT, fence=1, env={}, on_event=lambda _event: None)
        assert await deploy(session, artifact, "1.0.0") == ("installed", "switched", "")
        assert await deploy(session, artifact, "2.0.0") == ("installed", "switched", "1.0.0")
        assert await deploy(session, artifact, "1.0.0") == ("present", "switched", "2.0.0")
        assert await switch(session, "2.0.0") == ("switched", "1.0.0")
        assert (await session.state()).current == "2.0.0"
        survey, nothing = await survey_roots(transport, [ROOT, "/srv/other"], timeout_seconds=20)
        assert (survey.reading.version, nothing.reading.version) == ("2.0.0", "")
        await transport.close()

    asyncio.run(main())
