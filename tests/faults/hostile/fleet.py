"""All liars in one process: `python -m tests.faults.hostile.fleet SEED KIND…` prints where each listens, as one line of JSON.

Then it serves until its stdin ends, and prints what was asked of each: {name: calls}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from tests.faults.hostile.at_servers import server_cases
from tests.faults.hostile.case import Act, Case, words_of
from tests.faults.hostile.in_frames import frame_cases
from tests.faults.hostile.in_streams import stream_cases
from tests.support.lying_node import Call, Exit, LyingNode, Pause, Said

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[3]


def cases(seed: int, kinds: Collection[str] = ()) -> list[Case]:
    """The same for a seed, always. kinds: only these, if any."""
    chance = random.Random(seed)
    every = [*frame_cases(chance), *stream_cases(chance), *server_cases(chance)]
    return [case for case in every if case.kind in kinds] if kinds else every


@dataclass(frozen=True, kw_only=True)
class Liar:
    """name: of its node. fields: for Node(…)."""

    name: str
    kind: str
    what: str
    instances: int
    fields: dict[str, Any]


@dataclass(kw_only=True)
class Fleet:
    """calls: how many each liar got, once it has been stopped."""

    liars: Sequence[Liar]
    process: subprocess.Popen[str]
    calls: Mapping[str, int] = field(default_factory=dict)

    def stop(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.calls = json.loads(self.process.stdout.readline())


@contextmanager
def lying_fleet(seed: int, kinds: Iterable[str] = ()) -> Iterator[Fleet]:
    command = [sys.executable, "-m", "tests.faults.hostile.fleet", str(seed), *kinds]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Fleet(liars=[Liar(**each) for each in json.loads(process.stdout.readline())], process=process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Node(LyingNode):
    """A lying node, as a case wants it."""

    def __init__(self, folder: Path, key: asyncssh.SSHKey, case: Case) -> None:
        super().__init__(folder, host_key=key)
        for name, value in case.settings.items():
            setattr(self, name, value)
        if case.lie is not None:
            self.answers |= dict.fromkeys((*case.tasks, "survey", "check"), case.lie)  # type: ignore[arg-type]
        if "state" in case.tasks:
            self.answers["switch"] = lambda call: [call.frames(*words_of(call)[:5]), Exit(1)]
        if "abort" in case.tasks:
            self.answers["before_switch"] = lambda call: [call.frames(*words_of(call)[:3]), Pause(3600)]

    async def _say(self, process: asyncssh.SSHServerProcess[bytes], said: Said | Act) -> bool:
        if isinstance(said, Act):
            said.do(process)
            return True
        return await super()._say(process, said)


async def _serve_all(all_cases: Sequence[Case], folder: Path) -> None:
    key, other_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    liars, nodes = [], {}
    for number, case in enumerate(all_cases, start=1):
        name = f"liar-{number}"
        node = nodes[name] = _Node(folder, key, case)
        await _listen(node, case)
        fields = dict(node.node_fields)
        if case.breaks_key:
            fields["ssh_host_key"] = other_key.export_public_key().decode().strip()
        liars.append(
            {"name": name, "kind": case.kind, "what": case.name, "instances": case.instances, "fields": fields}
        )
    print(json.dumps(liars), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({name: len(node.calls) for name, node in nodes.items()}), flush=True)


async def _listen(node: _Node, case: Case) -> None:
    if case.serve is None:
        await node.listen()
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node.calls.append(Call(mark="", task="", root="", fence=0, arguments=(), number=len(node.calls)))
        with suppress(OSError, asyncio.CancelledError):
            assert case.serve is not None
            await case.serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    node.port = server.sockets[0].getsockname()[1]
    node.server = server  # type: ignore[attr-defined]


def main() -> None:
    logging.disable()
    os.nice(19)  # what lying costs is not to be taken from who is honest: they stand on other machines
    seed, *kinds = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="liars-") as folder, suppress(KeyboardInterrupt):
        asyncio.run(_serve_all(cases(int(seed), kinds), Path(folder)))


if __name__ == "__main__":
    main()
