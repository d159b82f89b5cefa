"""One deploy root on a real node, made artifacts, and sessions that speak about it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from deploys.node.calls import node_program
from deploys.node.session import Event, NodeSession, NodeState, OutputLine, Staged, StepStarted, Switch
from deploys.packages.archive import manifest
from deploys.packages.archive.writer import ArtifactWriter
from deploys.packages.difference import difference
from deploys.packages.parts import write_part
from deploys.packages.store import Artifact
from inventory.nodes.state import Reading, survey_roots
from inventory.nodes.transports.base import NodeAddress, Transport
from inventory.nodes.transports.local import LocalTransport
from inventory.nodes.transports.ssh import SshTransport
from tests.support.sshd import SshServer

T = TypeVar("T")

OPERATION = "op-1"
MTIME = 1_700_000_000


@dataclass
class Seen:
    """The events of one or more calls."""

    events: list[Event] = field(default_factory=list)

    def lines(self, stream: str = "stdout") -> list[str]:
        return [event.text for event in self.events if isinstance(event, OutputLine) and event.stream == stream]

    def steps(self) -> list[str]:
        return [event.step for event in self.events if isinstance(event, StepStarted)]


class NodeLab:
    """Calls are synchronous: each opens a transport and closes it, as `within` does for several at once."""

    def __init__(self, *, root: Path, artifacts: Path, address: NodeAddress | None = None, key_file: str = "") -> None:
        self.root = root
        self.seen = Seen()
        self._artifacts = artifacts
        self._address = address
        self._key_file = key_file

    def behind(self, sshd: SshServer) -> NodeLab:
        """Another one, reached over SSH."""
        return NodeLab(
            root=Path(sshd.node_root()) / 'it\'s a "root" $x' / "instance-1",
            artifacts=self._artifacts,
            address=NodeAddress(name="node-1", **sshd.node_fields),  # type: ignore[arg-type]
            key_file=str(sshd.private_key),
        )

    # Asking the node.

    def transport(self) -> Transport:
        if self._address is None:
            return LocalTransport()
        return SshTransport(self._address, key_file=self._key_file, standby=node_program())

    def session(self, transport: Transport, fence: int, *, env: Mapping[str, str] | None = None) -> NodeSession:
        return NodeSession(
            transport,
            root=str(self.root),
            fence=fence,
            env=env or {"RELEASE_SERVICE": "shop", "RELEASE_PORT": "8080"},
            on_event=self.seen.events.append,
        )

    def within(self, call: Callable[[Transport], Awaitable[T]]) -> T:
        async def main() -> T:
            transport = self.transport()
            try:
                return await call(transport)
            finally:
                await transport.close()

        return asyncio.run(main())

    def stage(self, version: str, *, fence: int, **changed: object) -> Staged:
        return self.within(lambda transport: self.stage_on(transport, version, fence=fence, **changed))

    async def stage_on(self, transport: Transport, version: str, *, fence: int, **changed: object) -> Staged:
        options: dict[str, object] = {
            "release": version,
            "version": version,
            "sha256": sha256_of(version),
            "operation": OPERATION,
            "timeout_seconds": 60,
        }
        artifact = changed.pop("artifact") if "artifact" in changed else self.artifact(version)
        options["artifact_path"] = None
        if isinstance(artifact, Artifact):
            options |= {"artifact_path": artifact.path, "artifact_sha256": artifact.artifact_sha256}
        return await self.session(transport, fence).stage(**{**options, **changed})  # type: ignore[arg-type]

    def switch(self, version: str, *, fence: int, restart: str = "", **changed: object) -> Switch:
        return self.within(
            lambda transport: self.switch_on(transport, version, fence=fence, restart=restart, **changed)
        )

    async def switch_on(
        self, transport: Transport, version: str, *, fence: int, restart: str = "", **changed: object
    ) -> Switch:
        options: dict[str, object] = {
            "release": version,
            "sha256": sha256_of(version),
            "operation": OPERATION,
            "restart_command": restart,
            "timeout_seconds": 20,
            "keep": [],
        }
        return await self.session(transport, fence).switch(**{**options, **changed})  # type: ignore[arg-type]

    def deploy(self, version: str, *, fence: int, restart: str = "", **changed: object) -> Switch:
        self.stage(version, fence=fence)
        return self.switch(version, fence=fence, restart=restart, **changed)

    def conclude(self, decision: str, *, fence: int, restart: str = "", **changed: object) -> NodeState:
        options: dict[str, object] = {
            "decision": decision,
            "operation": OPERATION,
            "restart_command": restart,
            "timeout_seconds": 20,
            "keep": [],
        }
        return self.within(
            lambda transport: self.session(transport, fence).conclude(**{**options, **changed})  # type: ignore[arg-type]
        )

    def state(self) -> NodeState:
        return self.within(lambda transport: self.session(transport, 0).state())

    def readings(self, *roots: str) -> list[Reading]:
        """As a sync reads them, of this root or of others."""
        asked = roots or (str(self.root),)
        surveys = self.within(lambda transport: survey_roots(transport, asked, timeout_seconds=20))
        return [survey.reading for survey in surveys]

    # Looking at the node.

    @property
    def current(self) -> str:
        return os.readlink(self.root / "current") if (self.root / "current").is_symlink() else ""

    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.root / "releases").iterdir())

    def release(self, version: str) -> Path:
        return self.root / "releases" / version

    def log_lines(self) -> list[list[str]]:
        return [line.split() for line in (self.root / "releases.log").read_text().splitlines()]

    def leftovers(self) -> list[str]:
        """What stays in our own folder besides the records of a few claims and the seals. Tidying follows the answer."""
        deadline = time.monotonic() + 2
        while (found := self._left_over()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def _left_over(self) -> list[str]:
        claims = list((self.root / ".release").glob("claim.*"))
        assert len(claims) < 12
        own = [path for path in (self.root / ".release").iterdir() if path not in claims and path.name != "seals"]
        inside = [path for claim in claims for path in claim.iterdir() if path.is_dir() or path.name == "upload"]
        return sorted(str(path.relative_to(self.root)) for path in [*own, *inside])

    # Artifacts.

    def artifact(self, version: str, files: Mapping[str, bytes] | None = None, *, mtime: int = MTIME) -> Artifact:
        path = self._artifacts / f"{version}.tar.gz"
        with path.open("wb") as file, path.with_suffix(".manifest").open("wb") as manifest:
            writer = ArtifactWriter(file, manifest)
            writer.add_folder("bin")
            for name, content in (files or files_of(version)).items():
                executable = name.startswith("bin/")
                writer.add_file(name, [content], size=len(content), is_executable=executable, mtime=mtime)
            writer.add_symlink("latest", "VERSION")
            sha256, size = writer.finish()
        return Artifact(
            sha256=sha256_of(version),
            size_bytes=size,
            path=path,
            artifact_sha256=sha256,
            artifact_bytes=size,
        )

    def part(self, artifact: Artifact, base: Artifact) -> Artifact:
        """What goes to a node that has the other one's release."""
        base_entries, entries = (
            list(manifest.read(each.path.with_suffix(".manifest"), artifact_sha256=each.artifact_sha256))
            for each in (base, artifact)
        )
        path = artifact.path.with_suffix(".part")
        with path.open("wb") as file:
            sha256, size = write_part(artifact.path, difference(base_entries, entries), file)
        return replace(artifact, path=path, artifact_sha256=sha256, artifact_bytes=size)


def sha256_of(version: str) -> str:
    return hashlib.sha256(version.encode()).hexdigest()


def files_of(version: str) -> dict[str, bytes]:
    return {
        "VERSION": version.encode(),
        "bin/run": b"#!/bin/sh\necho " + version.encode() + b"\n",
        'it\'s a "file" with\nlines': b"x",
        "empty": b"",
    }
