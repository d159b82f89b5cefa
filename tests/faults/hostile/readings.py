"""What a sync and the test of a connection make of liars, in a process of its own, as the worker's and the web's are.

`python -m tests.faults.hostile.readings SERVICE_PK` prints a `Readings` as JSON. Its bounds are shortened in proportion.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

AT_ONCE = 16
SECONDS = 4.0
TIMEOUT_SECONDS = 150


@dataclass(frozen=True, kw_only=True)
class Readings:
    """errors: what each node's test said, '' for a good one. Bytes: how far resident memory rose at most. log: its stderr."""

    sync_seconds: float
    sync_bytes: int
    test_seconds: float
    test_bytes: int
    errors: dict[str, str]
    log: str = ""


def read_apart(service_pk: int, environment: dict[str, str]) -> Readings:
    command = [sys.executable, "-m", "tests.faults.hostile.readings", str(service_pk)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
        text=True,
    )
    return replace(Readings(**json.loads(done.stdout)), log=done.stderr)


def main() -> None:
    import django

    django.setup()
    from inventory.instances.sync import sync_service
    from inventory.nodes import check, readings

    readings.NODE_SECONDS = check.TEST_SECONDS = SECONDS
    service_pk = int(sys.argv[1])
    sync_seconds, sync_bytes, _ = _measured(lambda: sync_service(service_pk))
    _seconds, test_bytes, errors = _measured(lambda: _test_all(service_pk))
    result = Readings(
        sync_seconds=sync_seconds,
        sync_bytes=sync_bytes,
        test_seconds=max(seconds for seconds, _error in errors.values()),
        test_bytes=test_bytes,
        errors={name: error for name, (_seconds, error) in errors.items()},
    )
    print(json.dumps(asdict(result)))


def _test_all(service_pk: int) -> dict[str, tuple[float, str]]:
    from inventory.models import Instance
    from inventory.nodes.check import try_connection
    from inventory.nodes.transports.base import NodeAddress

    instances = Instance.objects.filter(service=service_pk).select_related("node")
    nodes = {instance.node.name: (NodeAddress.of(instance.node), [instance.deploy_root]) for instance in instances}

    def test(name: str) -> tuple[float, str]:
        began = time.monotonic()
        error = try_connection(*nodes[name]).error
        return time.monotonic() - began, error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(nodes, pool.map(test, nodes), strict=True))


def _measured(call: Callable[[], Any]) -> tuple[float, int, Any]:
    from tests.faults.hostile.memory import forget_peak, peak

    before, began = forget_peak(os.getpid()), time.monotonic()
    result = call()
    return time.monotonic() - began, max(0, peak(os.getpid()) - before), result


if __name__ == "__main__":
    main()
