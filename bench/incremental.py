"""(i) A deploy of which a few files are changed: what it takes, and what goes over the wire, beside rsync and full packages.

The nodes are an sshd in a network namespace, reached by a cable as fast as this machine, or by a link of 100 Mbit/s with 20 ms
from end to end and back (bench/network.py). The kernel counts what goes over either, headers included. There is one worker
process, and its connections are warm.
"""

from __future__ import annotations

import copy
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bench.applications import Application, Files, changed_bytes, from_index, made_up, write_package, write_tree
from bench.competitors.ansible import AnsibleRsync
from bench.competitors.fabric import Fabric
from bench.competitors.fleet import Fleet
from bench.competitors.rsync import Rsync, seed
from bench.network import DELAY_MILLISECONDS, MEGABITS_PER_SECOND, FarSide, Way, far_side
from bench.results import Table
from bench.site import Foundation, Site, let_in, make_fleet, running_site, sshd_in_memory

if TYPE_CHECKING:
    from inventory.models import Instance
    from tests.support.sshd import SshServer

OURS, OURS_FULL = "this system", "this system, the full package"
LEAST = "the changed files, packed"
WAYS = {
    "cable": "by a cable as fast as this machine",
    "link": f"by a link of {MEGABITS_PER_SECOND} Mbit/s, {2 * DELAY_MILLISECONDS} ms there and back",
}
GOAL = "rsync ≥ 1; Fabric with the full package ≥ 3; the full package of the large application by the link ≥ 10"
SETTLE_SECONDS = 0.3
# Of the nodes of the large application: for its row with the full package, and for the packages of the index.
BIG_FULL_PART, REAL_PART = 10, 4
BIG_TIMES, BIG_BINARY_BYTES = 40, 88_000
PAIRS = (("botocore", "1.44.7", "1.44.8"), ("django", "5.2.18", "5.2.19"), ("numpy", "2.4.5", "2.4.6"))


Tool = Rsync | AnsibleRsync | Fabric


@dataclass(frozen=True, kw_only=True)
class Case:
    """full_nodes: of the row with the full package, which takes long for a large one. tools: what others use."""

    application: Application
    ways: Sequence[str]
    nodes: int
    full_nodes: int
    rounds: int = 1
    tools: Sequence[type[Rsync] | type[AnsibleRsync] | type[Fabric]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """big_nodes: of all but the small application. only: the keys of the applications, none: all."""

    nodes: int
    big_nodes: int
    rounds: int
    only: Sequence[str]
    has_ansible: bool
    is_over: Callable[[], bool]

    def cases(self) -> Iterator[Case]:
        """Those that take longest come last."""
        ansible = (AnsibleRsync,) if self.has_ansible else ()
        yield Case(
            application=made_up("small", "2.4 MB in 200 files, 3 % changed"),
            ways=("cable", "link"),
            nodes=self.nodes,
            full_nodes=self.nodes,
            rounds=self.rounds,
            tools=(Rsync, Fabric, *ansible),
        )
        few = max(1, self.big_nodes // REAL_PART)
        for pair in PAIRS:
            yield Case(application=from_index(*pair), ways=("link",), nodes=few, full_nodes=few, tools=(Rsync,))
        yield Case(
            application=made_up(
                "big", "200 MB in 8,000 files, 3 % changed", times=BIG_TIMES, binary_bytes=BIG_BINARY_BYTES
            ),
            ways=("link",),
            nodes=self.big_nodes,
            full_nodes=max(1, self.big_nodes // BIG_FULL_PART),
            tools=(Rsync,),
        )


def incremental(base: Foundation, plan: Plan) -> list[Table]:
    wire = Table(
        key="incremental-wire",
        title="What goes over the wire",
        unit="kB a node",
        goal="this system ≤ 1.1 × the changed files, packed, and 2 kB",
    )
    tables = [wire]
    with far_side() as far, _far_nodes(base, far) as there, running_site(there, workers=1) as site:
        for case in plan.cases():
            if plan.only and case.application.key not in plan.only:
                continue
            if plan.is_over():
                print(f"incremental: no time left for {case.application.title}", file=sys.stderr)
                continue
            run = _Run(site=site, base=there, far=far, case=case)
            run.all()
            tables += run.tables(wire)
    return tables


@contextmanager
def _far_nodes(base: Foundation, far: FarSide) -> Iterator[Foundation]:
    """The same site, its nodes in the namespace, which let in the same key."""
    with sshd_in_memory(host="0.0.0.0", within=far.within) as sshd:
        let_in(base, sshd)
        sshd.host = far.cable.address
        yield replace(base, sshd=sshd)


@dataclass(frozen=True, kw_only=True)
class _Version:
    """changed_bytes: of the files that are not in the version before, packed."""

    name: str
    tree: Path
    package: Path
    changed_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One version to the next, by a way."""

    way: str
    before: _Version
    after: _Version


@dataclass(kw_only=True)
class _Run:
    """seconds, bytes: a node's share of the bytes; both by way and row."""

    site: Site
    base: Foundation
    far: FarSide
    case: Case
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    wire: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    least: list[int] = field(default_factory=list)

    def all(self) -> None:
        with ExitStack() as stack:
            folder = self.base.folder / f"app-{self.case.application.key}"
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            ways = [way for way in self.case.ways for _ in range(self.case.rounds)]
            versions = list(_versions(self.case.application, folder, len(ways) + 1))
            steps = [_Step(way=way, before=versions[n], after=versions[n + 1]) for n, way in enumerate(ways)]
            self.least = [step.after.changed_bytes for step in steps]
            self._ours(steps)
            self._ours_full(steps)
            for make in self.case.tools:
                self._theirs(make, steps)

    def _ours(self, steps: Sequence[_Step]) -> None:
        instances = self._fleet("part", self.case.nodes)
        self._deploy(instances, steps[0].before)
        for step in steps:
            self._connect(step.way, instances, step.before)
            self._measure(OURS, step.way, len(instances), partial(self._deploy, instances, step.after))
        _clear(instance.deploy_root for instance in instances)

    def _ours_full(self, steps: Sequence[_Step]) -> None:
        """To roots where nothing is, and as another package, that has to be downloaded, checked and packed anew as well."""
        for number, step in enumerate(steps):
            instances = self._fleet(f"full{number}", self.case.full_nodes)
            self._connect(step.way, instances, step.before)
            again = _packed_again(step.after)
            self._measure(OURS_FULL, step.way, len(instances), partial(self._deploy_to_some, instances, again))
            _clear(instance.deploy_root for instance in instances)

    def _theirs(self, make: Callable[[Fleet], Tool], steps: Sequence[_Step]) -> None:
        folder = self.base.folder / f"{self.case.application.key}-{getattr(make, '__name__', '')}"
        folder.mkdir()
        fleet = Fleet(sshd=self.base.sshd, roots=self.base.new_roots(self.case.nodes), folder=folder)
        seed(fleet, steps[0].before.tree, steps[0].before.name)
        for step in steps:
            there = folder / step.way
            there.mkdir(exist_ok=True)
            tool = make(replace(fleet, sshd=_reached_by(self.base.sshd, self._way(step.way)), folder=there))
            self._measure(tool.name, step.way, fleet.size, partial(_their_deploy, tool, step))
            _check(fleet, step.after)
            if isinstance(tool, AnsibleRsync):
                break  # once: it is slow
        _clear(fleet.roots)

    def _fleet(self, prefix: str, count: int) -> list[Instance]:
        return make_fleet(self.base, count, prefix=f"{self.case.application.key}-{prefix}")

    def _way(self, name: str) -> Way:
        return self.far.cable if name == "cable" else self.far.link

    def _connect(self, way: str, instances: Sequence[Instance], version: _Version) -> None:
        """From now on they are reached by that way, and the connections are warm."""
        from inventory.models import Node

        Node.objects.filter(pk__in=[each.node_id for each in instances]).update(host=self._way(way).address)
        self._deploy(instances, version, until="checked")

    def _deploy(self, instances: Sequence[Instance], version: _Version, *, until: str = "switched") -> float:
        return self.site.deploy(instances, version.name, self._url(version), until=until)

    def _deploy_to_some(self, instances: Sequence[Instance], version: _Version) -> float:
        """What it takes for these nodes, of the package's download and packing only their share: that is done once for all."""
        seconds = self._deploy(instances, version)
        fetch = "SELECT max((step_seconds->>'fetch')::float) FROM deploys_target WHERE instance_id = %s"
        row = self.site.database.execute(fetch, [instances[0].pk]).fetchone()
        assert row is not None
        return seconds - float(row[0]) * (1 - len(instances) / self.case.nodes)

    def _url(self, version: _Version) -> str:
        return self.base.package_host.add(f"{version.name}.tar.gz", version.package.read_bytes())

    def _measure(self, row: str, way: str, nodes: int, deploy: Callable[[], float]) -> None:
        device = self._way(way)
        before = device.bytes_so_far()
        seconds = deploy()
        time.sleep(SETTLE_SECONDS)
        sent = (device.bytes_so_far() - before) / nodes / 1000
        self.seconds.setdefault(way, {}).setdefault(row, []).append(seconds)
        self.wire.setdefault(way, {}).setdefault(row, []).append(sent)
        print(
            f"{self.case.application.key}, {way}, {row}: {seconds:.2f} s, {sent:.1f} kB a node",
            file=sys.stderr,
            flush=True,
        )

    def tables(self, wire: Table) -> Iterator[Table]:
        key, title = self.case.application.key, self.case.application.title
        least = statistics.median(self.least) / 1000
        wire.add(f"{title}: {LEAST}", [each / 1000 for each in self.least])
        for way, rows in self.seconds.items():
            table = Table(
                key=f"incremental-{key}-{way}",
                title=f"{title}, to {self.case.nodes} nodes {WAYS[way]}",
                unit="ms a node",
                ratio_to=OURS,
                goal=GOAL,
            )
            for row, seconds in rows.items():
                nodes = self.case.full_nodes if row == OURS_FULL else self.case.nodes
                note = "" if nodes == self.case.nodes else f"{nodes} nodes, of the package's download their share"
                table.add(row, [each / nodes * 1000 for each in seconds], note)
                sent = self.wire[way][row]
                wire.add(f"{title}, {way}: {row}", sent, f"{statistics.median(sent) / least:.2f} × the changed files")
            yield table


def _versions(application: Application, folder: Path, count: int) -> Iterator[_Version]:
    before: Files = {}
    tree: Path | None = None
    for number, files in enumerate(islice(application.versions(), count), start=1):
        name = f"{application.key}.{number}"
        tree = write_tree(folder / name, files, number=number, before=tree)
        archive = write_package(folder / f"{name}.tar.gz", tree)
        least = changed_bytes(before, files) if before else 0
        yield _Version(name=name, tree=tree, package=archive, changed_bytes=least)
        before = files


def _packed_again(version: _Version) -> _Version:
    name = f"{version.name}.full"
    archive = write_package(version.package.with_name(f"{name}.tar.gz"), version.tree, level=5)
    return replace(version, name=name, package=archive)


def _reached_by(sshd: SshServer, way: Way) -> SshServer:
    """The same one at another address."""
    there = copy.copy(sshd)
    there.host = way.address
    return there


def _their_deploy(tool: Tool, step: _Step) -> float:
    begun = time.perf_counter()
    if isinstance(tool, Fabric):
        tool.deploy(step.after.name, step.after.package)
    else:
        tool.deploy(step.after.tree, step.after.name, before=step.before.name)
    return time.perf_counter() - begun


def _check(fleet: Fleet, version: _Version) -> None:
    """They have really done it, on every node: the trees are alike, and the link was switched."""
    for root in map(Path, fleet.roots):
        assert (root / "current").readlink().name == version.name, root
        done = subprocess.run(("diff", "-r", str(version.tree), str(root / "current/")), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-1000:]


def _clear(roots: Iterable[str]) -> None:
    """Of large applications not all tools' releases fit into memory."""
    for root in roots:
        shutil.rmtree(root)
