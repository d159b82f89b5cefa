"""Starts the processes of simulated nodes, and puts the nodes into the inventory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.site import Foundation, service

if TYPE_CHECKING:
    from inventory.models import Instance

CHECKOUT = Path(__file__).resolve().parents[2]
NODES_A_PROCESS = 625


@contextmanager
def simulated_nodes(base: Foundation, count: int, *, host: str = "127.0.0.1") -> Iterator[list[int]]:
    """Their ports on `host`. They have the host key of the bench's sshd, and let in the same user key."""
    with ExitStack() as stack:
        parts = [min(NODES_A_PROCESS, count - begun) for begun in range(0, count, NODES_A_PROCESS)]
        processes = [stack.enter_context(_process(base, host, part)) for part in parts]
        yield [port for process in processes for port in _ports(process)]


@contextmanager
def _process(base: Foundation, host: str, count: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.simulated.servers", str(base.sshd.folder), host, str(count)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _ports(process: subprocess.Popen[bytes]) -> list[int]:
    assert process.stdout is not None
    ports: list[int] = json.loads(process.stdout.readline())
    return ports


def simulated_fleet(base: Foundation, ports: list[int], *, prefix: str, host: str = "127.0.0.1") -> list[Instance]:
    """An instance on each, of the benchmarks' service."""
    from inventory.models import Instance, Node

    owner, fields = service(), {**base.sshd.node_fields, "host": host}
    nodes = Node.objects.bulk_create(
        Node(name=f"{prefix}-node-{number}", **{**fields, "ssh_port": port})
        for number, port in enumerate(ports, start=1)
    )
    return Instance.objects.bulk_create(
        Instance(
            instance_id=f"{prefix}-{number}",
            service=owner,
            node=node,
            port=8000,
            deploy_root=f"/srv/{prefix}-{number}",
        )
        for number, node in enumerate(nodes, start=1)
    )
