"""(a) Deploy to N SSH nodes and roll back, from the POST to `completed`, beside the tools that people use today.

All do the same: unpack into releases/, switch the link atomically, run a restart command. The others are started from
the command line, as people start them; ours gets an HTTP request.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.competitors.ansible import Ansible
from bench.competitors.fabric import Fabric
from bench.competitors.fleet import Fleet
from bench.competitors.openssh import OpenSsh
from bench.competitors.pyinfra import Pyinfra
from bench.limit import limit
from bench.release_package import release_package
from bench.results import Table
from bench.site import Foundation, Site, let_in, make_fleet, running_site, sshd_in

if TYPE_CHECKING:
    from inventory.models import Instance

OURS_STAGED = "this system, deploy of what is staged"
OURS, OURS_COLD, OURS_FIRST = "this system", "this system, new connections", "this system, first after a deploy"
LIMIT = "the same extraction, no network"
TOOLS = (OpenSsh, Pyinfra, Fabric, Ansible)
# A person needs longer to see that a deploy went wrong.
REST_SECONDS = 5.0


Cpu = Callable[[], float]


class Competitor(Protocol):
    name: str
    fleet: Fleet

    def deploy(self, version: str, package: Path) -> None: ...

    def roll_back(self, version: str) -> None: ...


def fleet(base: Foundation, *, nodes: int, rounds: int, only: Sequence[str] = ()) -> list[Table]:
    """The nodes' folders in memory."""
    makes = [make for make in TOOLS if not only or make.__name__.lower() in only]
    return _fleet(_Run(base=base, nodes=nodes, key="fleet", where="in memory"), makes, rounds)


def on_disk(base: Foundation, folder: Path, *, nodes: int, rounds: int) -> list[Table]:
    """The same with the nodes' folders below `folder`, where one disk serves them all; without Ansible, which is slow."""
    makes = [make for make in TOOLS if make is not Ansible]
    with sshd_in(str(folder)) as sshd:
        let_in(base, sshd)
        there = replace(base, sshd=sshd)
        return _fleet(_Run(base=there, nodes=nodes, key="disk", where="on one disk"), makes, rounds)[:2]


def _fleet(run: _Run, makes: Sequence[Callable[[Fleet], Competitor]], rounds: int) -> list[Table]:
    """In each round all take their turn, so that what else the machine does meets all alike. Ansible: once, it is slow."""
    base, nodes = run.base, run.nodes
    tools = [make(run.their_fleet(f"{run.key}-{number}")) for number, make in enumerate(makes)]
    with running_site(base) as site:
        ours = _Ours(site, nodes, run.key)
        run.add_deploy(OURS_COLD, ours.deploy())
        for number in range(rounds):
            before = ours.cpu_seconds()
            run.add_deploy(OURS, ours.deploy(), before, ours.cpu_seconds)
            time.sleep(REST_SECONDS)
            before = ours.cpu_seconds()
            run.add_rollback(OURS if number else OURS_FIRST, ours.roll_back(), before, ours.cpu_seconds)
            ours.forward()
            if number == 0:
                ours.stage()
                before = ours.cpu_seconds()
                run.add_rollback(OURS_STAGED, ours.deploy_staged(), before, ours.cpu_seconds)
            for tool in tools:
                if number == 0 or not isinstance(tool, Ansible):
                    _their_round(run, tool, f"t{number}")
                    print(f"{tool.name}: {run.deploys[tool.name][-1]:.1f} s", file=sys.stderr, flush=True)
    run.deploys.setdefault(LIMIT, limit(base, nodes=nodes, rounds=rounds))
    return run.tables()


class _Ours:
    def __init__(self, site: Site, nodes: int, key: str) -> None:
        self._site = site
        self._instances: Sequence[Instance] = make_fleet(site.base, nodes, prefix=f"{key}{nodes}")
        self._history: list[tuple[str, str]] = []

    def deploy(self) -> float:
        self._history.append(self._site.new_version())
        return self._site.deploy(self._instances, *self._history[-1])

    def stage(self) -> None:
        self._history.append(self._site.new_version())
        self._site.deploy(self._instances, *self._history[-1], until="staged")
        time.sleep(REST_SECONDS)

    def deploy_staged(self) -> float:
        """Of the version that was staged last."""
        return self._site.deploy(self._instances, *self._history[-1])

    def roll_back(self) -> float:
        return self._site.roll_back(self._instances, self._history[-2][0])

    def forward(self) -> None:
        """Leaves the newest version running, for the next round's rollback to have where to go."""
        self._site.deploy(self._instances, *self._history[-1])
        time.sleep(REST_SECONDS)

    def cpu_seconds(self) -> float:
        return self._site.cpu_seconds()


@dataclass(kw_only=True)
class _Run:
    """Seconds by tool. where: the nodes' folders are."""

    base: Foundation
    nodes: int
    key: str
    where: str
    deploys: dict[str, list[float]] = field(default_factory=dict)
    rollbacks: dict[str, list[float]] = field(default_factory=dict)
    deploys_cpu: dict[str, list[float]] = field(default_factory=dict)
    rollbacks_cpu: dict[str, list[float]] = field(default_factory=dict)

    def their_fleet(self, name: str) -> Fleet:
        folder = self.base.folder / name
        folder.mkdir()
        return Fleet(sshd=self.base.sshd, roots=self.base.new_roots(self.nodes), folder=folder)

    def add_deploy(self, name: str, seconds: float, before: float | None = None, cpu: Cpu | None = None) -> None:
        """before: what `cpu()` said when it began."""
        self.deploys.setdefault(name, []).append(seconds)
        if before is not None and cpu is not None:
            self.deploys_cpu.setdefault(name, []).append(cpu() - before)

    def add_rollback(self, name: str, seconds: float, before: float, cpu: Cpu) -> None:
        self.rollbacks.setdefault(name, []).append(seconds)
        self.rollbacks_cpu.setdefault(OURS if name == OURS_FIRST else name, []).append(cpu() - before)

    def tables(self) -> list[Table]:
        deploys = Table(
            key=f"{self.key}-deploy",
            title=f"Deploy 2.4 MB, 200 files, to {self.nodes} SSH nodes, their folders {self.where}",
            unit="s",
            ratio_to=OURS,
            goal="OpenSSH, pyinfra and Fabric ≥ 1.5, Ansible ≥ 10",
        )
        rollbacks = Table(
            key=f"{self.key}-rollback",
            title=f"Roll back {self.nodes} SSH nodes, their folders {self.where}",
            unit="s",
            ratio_to=OURS,
            goal="pyinfra and Fabric ≥ 3, Ansible ≥ 20; ≤ 6 ms a node; a deploy of what is staged ≤ 1.2 of a rollback",
        )
        for table, found in ((deploys, self.deploys), (rollbacks, self.rollbacks)):
            for name, seconds in found.items():
                each = f"{statistics.median(seconds) / self.nodes * 1000:.1f} ms a node"
                table.add(name, seconds, "the limit" if name == LIMIT else each)
        return [deploys, rollbacks, self._cpu("deploy", self.deploys_cpu), self._cpu("rollback", self.rollbacks_cpu)]

    def _cpu(self, what: str, found: dict[str, list[float]]) -> Table:
        title = f"Processor time of the commanding side alone, a {what} of {self.nodes} nodes"
        table = Table(key=f"{self.key}-{what}-cpu", title=title, unit="ms a node", ratio_to=OURS)
        for name, seconds in found.items():
            table.add(name, [each / self.nodes * 1000 for each in seconds])
        return table


def _their_round(run: _Run, tool: Competitor, version: str) -> None:
    package = run.base.folder / f"{version}.tar.gz"
    package.write_bytes(release_package(version))
    before = _children_cpu_seconds()
    run.add_deploy(tool.name, _timed(lambda: tool.deploy(version, package)), before, _children_cpu_seconds)
    before = _children_cpu_seconds()
    run.add_rollback(tool.name, _timed(lambda: tool.roll_back(version)), before, _children_cpu_seconds)
    _check(tool.fleet, version)


def _check(theirs: Fleet, version: str) -> None:
    """They have really done it, on every node."""
    for root in theirs.roots:
        assert (Path(root) / "current/VERSION").read_text() == version, root
        assert (Path(root) / "restarts").read_text().split()[-2:] == [version] * 2, root


def _children_cpu_seconds() -> float:
    """Of all programs that were started and have ended: the tools are such."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _timed(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
