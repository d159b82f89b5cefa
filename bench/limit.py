"""(b) The limit: the same extraction on the same disks with no network, no tool and no record."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.release_package import release_package
from bench.results import Table
from bench.site import Foundation


def limit(base: Foundation, *, nodes: int, rounds: int) -> list[float]:
    """Seconds for `tar -xzf` of the package into `nodes` folders, as many at once as there are processors."""
    package = base.folder / "limit.tar.gz"
    package.write_bytes(release_package("limit"))
    return [_extract(package, base.new_roots(nodes)) for _ in range(rounds)]


def _extract(package: Path, roots: Sequence[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(
        ("xargs", f"-P{os.cpu_count() or 1}", "-I{}", "tar", "-xzf", str(package), "-C", "{}"),
        input="\n".join(roots).encode(),
        check=True,
    )
    seconds = time.perf_counter() - begun
    for root in roots:
        shutil.rmtree(root)
    return seconds


def limit_table(base: Foundation, *, nodes: int, rounds: int) -> Table:
    table = Table(key="limit", title=f"The limit: {nodes} extractions, no network", unit="s")
    table.add("tar -xzf", limit(base, nodes=nodes, rounds=rounds))
    return table
