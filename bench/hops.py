"""(g) Deploys to nodes reached directly, through a jump host, and through the sockets that they have dialled in to."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Table
from bench.site import Foundation, Site, make_fleet, running_site
from tests.support.sshd import SshServer, ssh_server

if TYPE_CHECKING:
    from inventory.models import Instance, JumpHost

DIRECT, HOP, DIALLED = "direct", "through one jump host", "dialled out (`ssh -R`)"
WARM_ROUNDS = 2
DIAL_SECONDS = 30

Fleet = Callable[[str, int], "list[Instance]"]


def hops(base: Foundation, *, nodes: int, rounds: int) -> list[Table]:
    """Every round makes its fleets anew, jump hosts included: so the first deploy to each finds no connection open."""
    with ExitStack() as stack:
        jump_server = stack.enter_context(ssh_server())
        (jump_server.folder / "authorized_keys").write_text(base.sshd.private_key.with_suffix(".pub").read_text())
        sockets = stack.enter_context(_tunnels(base.sshd, jump_server, nodes))
        site = stack.enter_context(running_site(base))
        ways = _Ways(base, jump_server, sockets)
        return [table for count in (1, nodes) for table in _tables(site, ways, count, rounds)]


def _tables(site: Site, ways: _Ways, count: int, rounds: int) -> list[Table]:
    found: dict[str, dict[str, list[float]]] = {"cold": {}, "warm": {}}
    spare = make_fleet(site.base, 1, prefix=f"spare{count}")
    for number in range(rounds):
        fleets = {way: make(f"{count}r{number}", count) for way, make in ways.all().items()}
        for kind in ("cold", *["warm"] * WARM_ROUNDS):
            version, url = site.new_version()
            site.deploy(spare, version, url)  # from here on the package is in our store
            # Not always in the same order: what else the machine does meets all alike.
            for way, fleet in random.sample(list(fleets.items()), len(fleets)):
                found[kind].setdefault(way, []).append(1000 * site.deploy(fleet, version, url))
                print(f"{count} {kind} {way}: {found[kind][way][-1]:.0f} ms", file=sys.stderr, flush=True)
    return [_table(kind, count, of_kind) for kind, of_kind in found.items()]


def _table(kind: str, count: int, found: dict[str, list[float]]) -> Table:
    what = "no connection open yet" if kind == "cold" else "connections open"
    table = Table(
        key=f"hops-{'one' if count == 1 else 'many'}-{kind}",
        title=f"Deploy to {count} node{'s' if count > 1 else ''}, {what}",
        unit="ms",
        ratio_to=DIRECT,
        goal="ratio at most 1.3",
    )
    for way in (DIRECT, HOP, DIALLED):
        table.add(way, found[way])
    return table


class _Ways:
    def __init__(self, base: Foundation, jump_server: SshServer, sockets: Sequence[Path]) -> None:
        self._base = base
        self._jump_server = jump_server
        self._sockets = sockets
        self._numbers = itertools.count(1)

    def all(self) -> dict[str, Fleet]:
        return {DIRECT: self._direct, HOP: self._behind, DIALLED: self._dialled}

    def _direct(self, prefix: str, count: int) -> list[Instance]:
        return make_fleet(self._base, count, prefix=f"direct{prefix}")

    def _behind(self, prefix: str, count: int) -> list[Instance]:
        return self._moved(make_fleet(self._base, count, prefix=f"behind{prefix}"), has_sockets=False)

    def _dialled(self, prefix: str, count: int) -> list[Instance]:
        return self._moved(make_fleet(self._base, count, prefix=f"dialled{prefix}"), has_sockets=True)

    def _moved(self, fleet: list[Instance], *, has_sockets: bool) -> list[Instance]:
        from inventory.models import Node

        jump = self._new_jump_host()
        for instance, socket in zip(fleet, self._sockets, strict=False):
            Node.objects.filter(pk=instance.node.pk).update(jump=jump, jump_socket=str(socket) if has_sockets else "")
        return fleet

    def _new_jump_host(self) -> JumpHost:
        from inventory.models import JumpHost

        fields = dict(self._jump_server.node_fields)
        del fields["transport"]
        return JumpHost.objects.create(name=f"dmz-{next(self._numbers)}", **fields)


@contextmanager
def _tunnels(node: SshServer, jump: SshServer, count: int) -> Iterator[Sequence[Path]]:
    """One process each, as on as many nodes; the account is the same, so the sockets' rights are of no concern here."""
    folder = Path(jump.node_root())
    sockets = [folder / f"{number}.sock" for number in range(count)]
    processes = [subprocess.Popen(_ssh(node, jump, socket), stdin=subprocess.DEVNULL) for socket in sockets]
    try:
        deadline = time.monotonic() + DIAL_SECONDS
        while not all(socket.exists() for socket in sockets):
            if time.monotonic() > deadline:
                raise TimeoutError("not every node has dialled in")
            time.sleep(0.05)
        yield sockets
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _ssh(node: SshServer, jump: SshServer, socket: Path) -> list[str]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ExitOnForwardFailure=yes")
    given = [word for option in options for word in ("-o", option)]
    way = ["-R", f"{socket}:localhost:{node.port}", f"{jump.user}@{jump.host}"]
    return ["ssh", "-N", "-T", "-F", "none", *given, "-i", str(node.private_key), "-p", str(jump.port), *way]
