"""(e) Peak memory of web and worker: one worker process deploys to many nodes and rolls them back.

A real fleet's nodes have processors of their own; here they share this machine's, so the package is a small one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psutil

from bench.results import Table
from bench.site import SERVICE, Foundation, Site, make_fleet, running_site
from tests.support.package_builder import package

if TYPE_CHECKING:
    from inventory.models import Instance

MEBIBYTE = 1024**2
SIZES = (10, 100, 300)


def memory(base: Foundation, *, nodes: int) -> list[Table]:
    peaks = Table(
        key="memory",
        title="Peak memory (RSS) of a process, one worker process per queue",
        unit="MiB",
        goal=f"worker with {nodes:,} nodes ≤ 300",
    )
    times = Table(key="memory-time", title="The same runs' time a node (small package)", unit="ms a node", goal="flat")
    for count in (*SIZES, nodes):
        with running_site(base, workers=1) as site:
            _measure(site, count, peaks, times)
    return [peaks, times]


def _measure(site: Site, count: int, peaks: Table, times: Table) -> None:
    instances = make_fleet(site.base, count, prefix=f"memory{count}")
    versions = [small_package(site, f"m{count}.{number}") for number in (1, 2)]
    watched = {
        "web, the larger of 2 processes": psutil.Process(site.web.pid).children(),
        "worker for deploys": list(site.worker.cluster("deploys").workers),
        "worker for rollbacks": list(site.worker.cluster("rollbacks").workers),
    }
    with Peaks(watched) as found:
        first = site.deploy(instances, *versions[0])
        second = site.deploy(instances, *versions[1])
        back = site.roll_back(instances, versions[0][0])
        _look(site, instances)
    for name, peak in found.bytes.items():
        peaks.add(f"{name}, {count:,} nodes", [peak / MEBIBYTE])
    for name, seconds in (("deploy, new connections", first), ("deploy, warm", second), ("rollback", back)):
        times.add(f"{name}, {count:,} nodes", [seconds / count * 1000])


def _look(site: Site, instances: list[Instance]) -> None:
    site.get(f"/v1/service/{SERVICE}/instances/versions")
    site.get("/v1/deploy/list")


def small_package(site: Site, version: str) -> tuple[str, str]:
    return version, site.base.package_host.add(f"{version}.tar.gz", package(small_files(version)))


def small_files(version: str) -> dict[str, str | bytes]:
    return {f"lib/module{number}.py": f"{version}\n" * 200 for number in range(10)}


class Peaks:
    """The largest RSS of each group's processes while it is entered, looked at ten times a second."""

    def __init__(self, watched: dict[str, list[psutil.Process]]) -> None:
        self.bytes = dict.fromkeys(watched, 0)
        self._watched = watched
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.1):
            for name, processes in self._watched.items():
                self.bytes[name] = max(self.bytes[name], *(_rss(process) for process in processes))


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
