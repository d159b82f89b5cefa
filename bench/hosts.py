"""Two worker hosts in network namespaces against one: whether they share the work, and what sharing costs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.cpu import cpu_seconds
from bench.memory import small_files
from bench.results import Table
from bench.simulated.fleet import simulated_fleet, simulated_nodes
from bench.site import Foundation, Site, running_site
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.two_hosts import Host, network_of

if TYPE_CHECKING:
    from inventory.models import Instance
    from tests.support.worker import WorkerHost

# Another one than tests use.
PREFIX = "198.18.92"
GATEWAY = f"{PREFIX}.1"
READY_SECONDS = 120


def can_make_hosts() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


def hosts_table(base: Foundation, count: int) -> Table:
    """The nodes and the package host are on this machine, as the hosts see it; the database is reached by its socket."""
    table = Table(
        key="scale-hosts",
        title=f"{count:,} simulated nodes: processor time with one worker host and with two, warm",
        unit="ms a node",
        ratio_to="deploy, one host",
    )
    with ExitStack() as stack:
        places = stack.enter_context(network_of(2, prefix=PREFIX))
        packages = stack.enter_context(_package_host(base))
        ports = stack.enter_context(simulated_nodes(base, count, host=GATEWAY))
        site = stack.enter_context(running_site(base, has_worker=False))
        for words, some in (("one host", places[:1]), ("two hosts", places)):
            instances = simulated_fleet(base, ports, prefix=f"h{len(some)}", host=GATEWAY)
            with ExitStack() as running:
                workers = [running.enter_context(_worker(base, place)) for place in some]
                _measure(_Hosts(site, workers, packages), instances, words, table)
    return table


class _Hosts:
    def __init__(self, site: Site, workers: Sequence[WorkerHost], packages: PackageHost) -> None:
        self.site = site
        self.workers = workers
        self._packages = packages

    def url(self, version: str) -> str:
        self._packages.add(f"{version}.tar.gz", package(small_files(version)))
        return f"http://{GATEWAY}:{self._packages.port}/{version}.tar.gz"

    def cpu_seconds(self) -> float:
        return self.site.cpu_seconds() + sum(cpu_seconds(worker.process.pid) for worker in self.workers)

    def shares(self, queue: str) -> str:
        """How many connections each has, a few of them to the database."""
        counts = [sum(map(open_sockets, worker.cluster(queue).workers)) for worker in self.workers]
        return " and ".join(f"{count:,}" for count in counts)


def open_sockets(process: psutil.Process) -> int:
    """Whatever network it is in."""
    folder = Path(f"/proc/{process.pid}/fd")
    try:
        return sum(1 for each in folder.iterdir() if str(each.readlink()).startswith("socket:"))
    except OSError:
        return 0


def _measure(hosts: _Hosts, instances: Sequence[Instance], words: str, table: Table) -> None:
    names = [f"{words.replace(' ', '-')}.{number}" for number in range(3)]
    for name in names[:2]:
        hosts.site.deploy(instances, name, hosts.url(name))
    hosts.site.roll_back(instances, names[0])
    for what, queue in (("deploy", "deploys"), ("rollback", "rollbacks")):
        time.sleep(3)
        before = hosts.cpu_seconds()
        if what == "deploy":
            seconds = hosts.site.deploy(instances, names[2], hosts.url(names[2]))
        else:
            seconds = hosts.site.roll_back(instances, names[0])
        used = (hosts.cpu_seconds() - before) / len(instances) * 1000
        table.add(f"{what}, {words}", [used], f"{seconds:.1f} s; {hosts.shares(queue)} connections")


@contextmanager
def _package_host(base: Foundation) -> Iterator[PackageHost]:
    folder = base.folder / "packages-of-hosts"
    folder.mkdir()
    packages = PackageHost(folder, address=GATEWAY)
    packages.start()
    before = os.environ["RELEASE_PACKAGE_HOSTS"]
    os.environ["RELEASE_PACKAGE_HOSTS"] = f"{before},{GATEWAY}:{packages.port}"
    try:
        yield packages
    finally:
        os.environ["RELEASE_PACKAGE_HOSTS"] = before
        packages.stop()


@contextmanager
def _worker(base: Foundation, place: Host) -> Iterator[WorkerHost]:
    """With a store of its own, as a host has."""
    from django.conf import settings

    from tests.support.worker import running_worker

    variables = {
        "DJANGO_SETTINGS_MODULE": "releasesite.settings",
        "RELEASE_DATA_DIR": str(Path(base.folder, place.name)),
        "RELEASE_WORKERS": "1",
        "SECRET_KEY": settings.SECRET_KEY,
    }
    settings.WORKERS = 1
    with running_worker(variables, wait=False, within=place.within) as worker:
        deadline = time.monotonic() + READY_SECONDS
        while worker.canary_at() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(worker.log.read_text()[-3000:])
            time.sleep(0.2)
        yield worker
