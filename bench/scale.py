"""(h) Thousands of simulated nodes: what the commanding side alone costs, and where it bends.

The nodes are SSH servers in Python, many to a process, that answer as the node program does and do nothing (bench/simulated).
They share this machine's processors, and cost more than we do: so what is compared is processor time, which that hardly
moves, and not the clock.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import psycopg

from bench.hosts import can_make_hosts, hosts_table, open_sockets
from bench.memory import MEBIBYTE, Peaks, small_package
from bench.results import Table
from bench.simulated.fleet import simulated_fleet, simulated_nodes
from bench.site import Foundation, Site, running_site

if TYPE_CHECKING:
    from inventory.models import Instance

NODES_OF_HOSTS = 500
REST_SECONDS = 3.0
# After so long every backend has told of what it wrote (PGSTAT_IDLE_INTERVAL).
STATISTICS_SECONDS = 10.5


def scale(base: Foundation, *, sizes: Sequence[int], is_over: Callable[[], bool]) -> list[Table]:
    tables = _tables(sizes)
    with simulated_nodes(base, max(sizes)) as ports:
        for count in sizes:
            if is_over():
                print(f"scale: no time left for {count:,} nodes", file=sys.stderr)
                continue
            with running_site(base, workers=1) as site:
                _measure(site, simulated_fleet(base, ports[:count], prefix=f"scale{count}"), tables)
    if is_over() or not can_make_hosts():
        print("scale: no table of two hosts: no time left, or no root or no `ip` for their networks", file=sys.stderr)
        return list(tables.values())
    return [*tables.values(), hosts_table(base, min(NODES_OF_HOSTS, max(sizes)))]


def _tables(sizes: Sequence[int]) -> dict[str, Table]:
    most = f"{max(sizes):,} nodes"
    return {
        "cpu": Table(
            key="scale-cpu",
            title="Simulated nodes: processor time of web, worker and database",
            unit="ms a node",
            goal=f"{most}: a warm deploy ≤ 8, a warm rollback ≤ 2",
        ),
        "time": Table(
            key="scale-time",
            title="The same runs' time",
            unit="ms a node",
            goal="no more a node with many than with 500",
        ),
        "memory": Table(
            key="scale-memory", title="Peak memory (RSS) of a worker process", unit="MiB", goal=f"{most}: ≤ 400"
        ),
        "rows": Table(
            key="scale-rows",
            title="Rows inserted or changed in the database, all four operations together",
            unit="rows a second",
        ),
        "connections": Table(key="scale-connections", title="Most connections at once", unit="connections"),
    }


def _measure(site: Site, instances: list[Instance], tables: dict[str, Table]) -> None:
    count = len(instances)
    versions = [small_package(site, f"s{count}.{number}") for number in range(2)]
    watched = {f"worker for {queue}": list(site.worker.cluster(queue).workers) for queue in ("deploys", "rollbacks")}
    acts: list[tuple[str, Callable[[], float]]] = [
        ("deploy, new connections", lambda: site.deploy(instances, *versions[0])),
        ("deploy, warm", lambda: site.deploy(instances, *versions[1])),
        ("rollback, new connections", lambda: site.roll_back(instances, versions[0][0])),
        ("rollback, warm", lambda: site.roll_back(instances, versions[1][0])),
    ]
    found: dict[str, list[_Cost]] = {}
    rows = _rows(site)
    with Peaks(watched) as memory, _Connections(site, watched) as connections:
        for name, act in acts:
            cost = _cost_of(site, act)
            found.setdefault(f"{name}, {count:,} nodes", []).append(cost)
            print(f"{count:,} nodes, {name}: {cost}", file=sys.stderr, flush=True)
    time.sleep(STATISTICS_SECONDS)
    written, seconds = _rows(site) - rows, sum(cost.seconds for costs in found.values() for cost in costs)
    tables["rows"].add(f"{count:,} nodes", [written / seconds], f"{written / count / len(acts):.1f} rows a node")
    for name, costs in found.items():
        tables["cpu"].add(name, [cost.cpu_seconds / count * 1000 for cost in costs])
        tables["time"].add(name, [cost.seconds / count * 1000 for cost in costs])
    for name, peak in memory.bytes.items():
        tables["memory"].add(f"{name}, {count:,} nodes", [peak / MEBIBYTE])
    for name, most in connections.most.items():
        tables["connections"].add(f"{name}, {count:,} nodes", [most])


@dataclass(frozen=True, kw_only=True)
class _Cost:
    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.cpu_seconds:.1f} s of processor time"


def _cost_of(site: Site, act: Callable[[], float]) -> _Cost:
    """After a rest: what follows an operation (early logins, programs made to stand by) is not the next one's."""
    time.sleep(REST_SECONDS)
    before = site.cpu_seconds()
    seconds = act()
    return _Cost(seconds=seconds, cpu_seconds=site.cpu_seconds() - before)


def _rows(site: Site) -> int:
    query = "SELECT tup_inserted + tup_updated FROM pg_stat_database WHERE datname = current_database()"
    row = site.database.execute(query).fetchone()
    assert row is not None
    return int(row[0])


class _Connections:
    """The most that were open, looked at every two seconds while it is entered."""

    def __init__(self, site: Site, watched: dict[str, list[psutil.Process]]) -> None:
        self.most = dict.fromkeys((*watched, "to the database, all processes together"), 0)
        self._watched = watched
        self._database = psycopg.connect(site.database.info.dsn, autocommit=True)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Connections:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._database.close()

    def _watch(self) -> None:
        while not self._is_over.wait(2):
            for name, processes in self._watched.items():
                self._saw(name, sum(map(open_sockets, processes)))
            self._saw("to the database, all processes together", self._to_database())

    def _saw(self, name: str, count: int) -> None:
        self.most[name] = max(self.most[name], count)

    def _to_database(self) -> int:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        row = self._database.execute(query).fetchone()
        return int(row[0]) if row else 0
